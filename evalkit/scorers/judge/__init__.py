"""Another model as the measuring instrument: G-Eval, pairs, panels; specified by rubrics, hardened, and never silent."""
