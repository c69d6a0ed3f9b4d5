"""Bytes as rows: delimited text, parquet, encodings."""
