UPDATE orders SET channel = 'api' WHERE channel <> 'api';
