"""Forecasts lodged before the large cell is trained: kept so that no change goes unseen, and scored afterwards."""
