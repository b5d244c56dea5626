"""The paper's tables and figures: which systems they compare, trained, scored and drawn."""
