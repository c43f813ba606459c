"""An evaluator of every family of models that moeq reads, in numpy's float64: what makes goldens for
tests (make_family_oracles.py) and shows that they are right (check.py, mutations.py).

checkpoint.py reads folders; pieces.py, routers.py, mixers.py and ffn.py hold the formulas; model.py
puts them together.
"""
