"""What every process of Penstock has: settings from the environment, a clock, a health page."""
