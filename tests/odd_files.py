"""Small volumes whose headers are edited byte by byte, and series of DICOM files, for several tests."""

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

OBLIQUE = np.array([[-2.0, 0, 0, 10], [0, 2, 0, -7], [0, 0, 2.5, 3], [0, 0, 0, 1]])  # stored from right to left
PIXDIM, OFFSET, SLOPE, UNITS, CODES, QUATERNION, SFORM = 76, 108, 112, 123, 252, 256, 280  # where NIfTI-1 keeps them


def numbers(shape=(6, 7, 8), dtype=np.int16):
    """Whole numbers from 1 to 100, that every type can hold."""
    return np.random.default_rng(0).integers(1, 101, shape).astype(dtype)


def write(path, array, affine=OBLIQUE, *, sform=1, qform=1, units="mm", kind=nib.Nifti1Image, endian="<"):
    """A volume as NIfTI of any kind with both forms of its affine, or as MGH; returns the path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind is nib.MGHImage:
        nib.save(kind(array, affine), path)
        return path
    image = kind(array, affine, kind.header_class(endianness=endian), dtype=array.dtype)
    image.set_sform(affine, sform)
    image.set_qform(affine, qform)
    image.header.set_xyzt_units(units)
    nib.save(image, path)
    return path


def edit(path, place, values, dtype="<f4"):
    """Overwrite numbers in a file, compressed or not."""
    path = Path(path)
    zipped = path.suffix.lower() == ".gz"
    content = bytearray(gzip.decompress(path.read_bytes()) if zipped else path.read_bytes())
    patch = np.array(values, dtype).tobytes()
    content[place : place + len(patch)] = patch
    path.write_bytes(gzip.compress(bytes(content)) if zipped else bytes(content))
    return path


def write_series(folder, array, affine, *, number=1, name="T2"):
    """A volume [H, W, D] in RAS+ as axial DICOM slices of one series, 16 bit; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    lps = np.diag([-1, -1, 1, 1]) @ affine
    sides = np.linalg.norm(lps[:3, :3], axis=0)
    along = lps[:3, :3] / sides
    uids = {"StudyInstanceUID": "1.2.3", "SeriesInstanceUID": f"1.2.3.{number}", "FrameOfReferenceUID": "1.2.4"}
    words = {"Modality": "MR", "SeriesDescription": name, "PatientName": "grown", "ImageType": ["ORIGINAL", "PRIMARY"]}
    grid = {"Rows": array.shape[1], "Columns": array.shape[0], "PixelSpacing": [sides[1], sides[0]]}
    grid |= {"SliceThickness": sides[2], "ImageOrientationPatient": [*along[:, 0], *along[:, 1]]}
    bits = {"SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": 16, "BitsStored": 16}
    for k in range(array.shape[2]):
        slice_, slice_.file_meta = Dataset(), FileMetaDataset()
        slice_.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        place = {"SeriesNumber": number, "InstanceNumber": k + 1, "ImagePositionPatient": [*(lps @ [0, 0, k, 1])[:3]]}
        identity = {"SOPClassUID": MRImageStorage, "SOPInstanceUID": generate_uid(entropy_srcs=[str(folder), str(k)])}
        pixels = {"HighBit": 15, "PixelRepresentation": 0, "PixelData": array[:, :, k].T.astype("<u2").tobytes()}
        for key, value in {**uids, **words, **grid, **bits, **place, **identity, **pixels}.items():
            setattr(slice_, key, [float(v) for v in value] if isinstance(value, list) and key != "ImageType" else value)
        slice_.file_meta.MediaStorageSOPClassUID = MRImageStorage
        slice_.file_meta.MediaStorageSOPInstanceUID = slice_.SOPInstanceUID
        slice_.save_as(folder / f"{number:02d}_{k:03d}.dcm", enforce_file_format=True)
    return folder
