"""The ground floor: records, masks, images, rows, files and errors, which everything else is made of."""
