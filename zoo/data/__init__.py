"""What is learnt from: downloads, layouts, the decoded store and its batches."""
