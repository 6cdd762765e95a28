"""Quantum ESPRESSO as jobflow Makers under custodian."""
