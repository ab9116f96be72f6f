"""What the trees of pipelines refer to beyond their rows: the details of a datum name the content of its log."""

from collections.abc import Iterable, Sequence

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from pachyderm_dagster.codec import DIGEST_BYTES
from pachyderm_dagster.pfs.roots import PipelineTrees
from pachyderm_dagster.pps.results import RESULT_ROWS
from pachyderm_dagster.storage.content import Content
from pachyderm_dagster.storage.objects import Ref
from pachyderm_dagster.storage.reachable import Documents
from pachyderm_dagster.storage.rows import KEY, contents_of


class _Details(msgspec.Struct):
    """Of `DatumDetails` what refers to something stored."""

    log: Content | None = None


_DECODER = msgspec.json.Decoder(_Details)


def _logs(document: bytes) -> Iterable[Ref]:
    log = _DECODER.decode(document).log
    return () if log is None else log.refs


def _details_of_datums(rows: pa.RecordBatch) -> Sequence[Content]:
    return contents_of(rows.column("details"))


def _details_of_results(rows: pa.RecordBatch) -> Sequence[Content]:
    # The key of a result is the hash of its datum, those of the files that it wrote go on behind that.
    return contents_of(rows.filter(pc.equal(pc.binary_length(rows.column(KEY)), 2 * DIGEST_BYTES)))


PIPELINE_TREES = PipelineTrees(Documents(_details_of_datums, _logs), RESULT_ROWS, Documents(_details_of_results, _logs))
