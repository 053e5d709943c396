"""The text of a site file: lines, grammar, names, what must fit. `gateway/site_file.py` joins them."""
