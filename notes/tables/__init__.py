"""Tables and charts of real runs: pages made from the figures that stand beside them."""
