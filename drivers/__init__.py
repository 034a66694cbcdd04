"""Drivers: one class for one model of device, and nothing of the gateway."""
