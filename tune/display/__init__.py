"""What people see: tables and figures in a terminal, live views, pages in a browser."""
