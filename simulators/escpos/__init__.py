"""The inside of a simulated ESC/POS receipt printer: parser, status bytes, print head and paper."""
