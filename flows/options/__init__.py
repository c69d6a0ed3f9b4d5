"""The options of the command line: a row each, beside the field of the form that it fills. Importing it stays cheap."""
