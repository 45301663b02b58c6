"""Words that the commands with a contour share."""

STRUCTURE_HELP = "With a contour: ROI name or segment label, or its number as in '#2'."
CONTOUR_HELP = (
    "SOP Instance UID of the RTSTRUCT or SEG to use, where several fit, or where it is an automatic segmentation."
)
