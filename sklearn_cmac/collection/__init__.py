"""What is kept of photos that are ranked, and who finds neighbours among them."""

from sklearn_cmac.collection._collection import Collection, RegionTable, describe_collection

__all__ = ["Collection", "RegionTable", "describe_collection"]
