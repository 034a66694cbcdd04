"""Scanners of barcodes and QR codes."""
