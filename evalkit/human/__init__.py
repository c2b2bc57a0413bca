"""Human evaluation: blind sheets out, validated ratings back, agreement and calibration."""
