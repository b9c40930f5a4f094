INSERT INTO customers (name, email, country, created_at, tags)
SELECT n.first || ' ' || n.last,
       lower(translate(n.first || '.' || n.last, 'ÁÇéëåóüøíñ''', 'Aceeaouoin')) || i || '@example.' || pick('com', 'net', 'org'),
       pick(VARIADIC enum_range(NULL::country)::text[])::country,
       timestamptz '2024-01-01 00:00+00' + random() * interval '600 days',
       CASE WHEN i % 3 = 0 THEN '{}' WHEN i % 3 = 1 THEN ARRAY[pick('newsletter', 'loyal', 'wholesale')] ELSE ARRAY[pick('vip', 'referred'), NULL, 'says "hi", often'] END
FROM (SELECT i, first_name() AS first, last_name() AS last FROM generate_series(1, current_setting('shop.customers')::int) i OFFSET 0) n;

INSERT INTO products (id, name, price, attributes, description, dimensions, active)
SELECT md5('product' || i || random())::uuid, product_name(), round((3 + random() * 400)::numeric, 2), attributes(), description(),
       CASE WHEN i % 7 > 0 THEN ARRAY[round((random() * 90)::numeric, 1), round((random() * 60)::numeric, 1), round((random() * 200)::numeric, 1)] END,
       random() < 0.9
FROM generate_series(1, current_setting('shop.products')::int) i;

WITH catalogue AS (SELECT array_agg(id ORDER BY id) AS ids, array_agg(price ORDER BY id) AS prices FROM products),
     drawn AS (SELECT i, 1 + floor(random() * current_setting('shop.customers')::int)::int AS customer,
                      1 + floor(random() * current_setting('shop.products')::int)::int AS product,
                      1 + floor(random() * 4)::int AS quantity, random() AS progress
               FROM generate_series(1, current_setting('shop.orders')::int) i OFFSET 0)
INSERT INTO orders (customer_id, status, total, placed_at, items, note, tracking, flags)
SELECT customer, CASE WHEN progress < 0.7 THEN 'delivered' WHEN progress < 0.8 THEN 'shipped' WHEN progress < 0.95 THEN 'paid' ELSE 'cancelled' END,
       prices[product] * quantity, timestamptz '2025-06-01 00:00+00' + i * interval '1 minute' + random() * interval '30 seconds',
       jsonb_build_array(jsonb_build_object('product', ids[product], 'quantity', quantity, 'price', prices[product])),
       CASE WHEN i % 9 = 0 THEN pick('Leave it at the door, please.', 'Ring twice.', 'Für Oma 🎁', 'Call "before" noon') END,
       CASE WHEN progress < 0.8 THEN md5('tracking' || i)::uuid END,
       ARRAY[progress < 0.2, NULL, quantity > 2]
FROM drawn, catalogue;

INSERT INTO order_events (order_id, event, at)
SELECT id, event, placed_at + hours * interval '1 hour'
FROM orders, (VALUES ('placed', 0), ('paid', 1)) AS e (event, hours)
ORDER BY id, hours;

INSERT INTO carts (customer_id, position, product_id, quantity)
SELECT 1 + i / 2, 1 + i % 2, id, 1 + i % 3
FROM (SELECT id, row_number() OVER (ORDER BY id) - 1 AS n FROM products) p
JOIN generate_series(0, current_setting('shop.carts')::int - 1) i ON n = i % current_setting('shop.products')::int;
