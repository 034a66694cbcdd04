"""The local console: a web page with what goes on at the venue, for operators and technicians."""
