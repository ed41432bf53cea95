//! Where a delivery may go: which URLs, and which addresses behind them.
