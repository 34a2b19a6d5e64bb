"""Why a tool or an agent is judged as it is: from answers to sentences, without asking anybody.

A sentence says only what the answer beside it says; where an answer does not tell which of several
rules applied, neither does the sentence.
"""
