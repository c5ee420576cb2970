"""Files of rows at any fsspec address: Parquet, CSV and JSON lines, read a batch at a time and written whole or not at all."""
