"""The planner: which GGOs an order spends, and what becomes of each (contract: v2, section 4).

Pure functions from facts to a plan. A candidate that has gone when the plan is carried out is replaced
by planning again without it.
"""
