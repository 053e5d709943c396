"""Signed, immutable texts: OCMF, its verification, our signing key."""
