"""How good the answers are: agreement, corrections, answers that a network contradicts."""
