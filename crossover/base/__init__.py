"""What every storey needs: errors, hints, canonical JSON, atomic files, array types."""
