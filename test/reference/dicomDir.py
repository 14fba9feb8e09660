"""Makes test/fixtures/dicomDir: a disc of two small series with its DICOMDIR, from test/fixtures/readers.

    python test/reference/dicomDir.py        (pydicom 3)
"""

import shutil
import tempfile
from pathlib import Path

import pydicom
from pydicom.fileset import FileSet

FIXTURES = Path(__file__).parent.parent / "fixtures"
SERIES = {"series": "1.2.3.4", "series_gap": "1.2.3.5"}

disc = FileSet()
for folder, uid in SERIES.items():
    for number, path in enumerate(sorted((FIXTURES / "readers" / folder).glob("*.dcm")), 1):
        ds = pydicom.dcmread(path)
        ds.PatientName, ds.PatientID, ds.StudyID = "Nobody^At^All", "SECRET-1", "1"
        ds.StudyDate, ds.StudyTime, ds.StudyDescription, ds.AccessionNumber = "20000101", "000000", "", ""
        ds.SeriesNumber, ds.StudyInstanceUID, ds.SeriesInstanceUID = 1, "1.2.3", uid
        ds.InstanceNumber = number
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"{uid}.{number}"
        disc.add(ds)
disc.UID = "1.2.3.9"
with tempfile.TemporaryDirectory() as scratch:
    disc.write(scratch)
    shutil.rmtree(FIXTURES / "dicomDir", ignore_errors=True)
    shutil.copytree(scratch, FIXTURES / "dicomDir")
