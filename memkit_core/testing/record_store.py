"""What every record store must do, as a test class.

Subclass it in a test module and give it a fixture::

    class TestMyStore(RecordStoreConformance):
        @pytest.fixture
        def store(self):
            with open_my_store() as store:
                yield store
"""

from __future__ import annotations

from .record_leases import LeaseConformance
from .record_reading import ReadingConformance
from .record_search import SearchConformance
from .record_sets import SetsConformance
from .record_time import TimeConformance
from .record_writing import WritingConformance


class RecordStoreConformance(
    WritingConformance,
    SetsConformance,
    LeaseConformance,
    ReadingConformance,
    SearchConformance,
    TimeConformance,
):
    """Every test of the contract of ``RecordStore``. Each takes an empty store from the fixture ``store``."""
