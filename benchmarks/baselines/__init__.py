"""The same work with the plain libraries, as a competent user of them would write it."""
