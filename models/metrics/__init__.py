"""What rows are judged by: metrics, the formulas behind them, costs, class weights, gaps between subgroups. May import
`models.data` and what it may."""
