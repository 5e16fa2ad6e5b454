"""Outlines drawn on an image, as DICOM stores them: RT structure sets and segmentation objects.

``read_rtstruct`` and ``read_segmentation`` take the content of a file and return a record. ``rasterize`` and
``on_grid`` lay one structure of it on the grid of an image. ``match`` and ``match_segments`` choose structures by name.
"""

from npczarr.sources.structures.names import clean_label as clean_label
from npczarr.sources.structures.names import match as match
from npczarr.sources.structures.names import match_segments as match_segments
from npczarr.sources.structures.placement import on_grid as on_grid
from npczarr.sources.structures.placement import overlaps as overlaps
from npczarr.sources.structures.rasterize import rasterize as rasterize
from npczarr.sources.structures.records import Code as Code
from npczarr.sources.structures.records import Contour as Contour
from npczarr.sources.structures.records import ImageUids as ImageUids
from npczarr.sources.structures.records import Roi as Roi
from npczarr.sources.structures.records import Segment as Segment
from npczarr.sources.structures.records import SegmentationObject as SegmentationObject
from npczarr.sources.structures.records import StructureSet as StructureSet
from npczarr.sources.structures.rtstruct import read_rtstruct as read_rtstruct
from npczarr.sources.structures.seg import read_segmentation as read_segmentation
