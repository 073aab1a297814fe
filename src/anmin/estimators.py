ReLURegressor = None
