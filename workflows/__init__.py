"""Flows that turn a cell into results, the engines that run them, and the runners."""
