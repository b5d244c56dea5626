"""What refkd costs against what a user would otherwise run, or in plain figures."""
