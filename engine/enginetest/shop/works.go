package shop

type kind int

const (
	insert kind = iota
	update
	remove
	truncate
)

type statement struct {
	kind kind
	sql  string
}

// work is one transaction of the shop's day.
type work struct {
	name       string
	rollback   bool
	statements []statement
}

// Rows are found by a random key at or after which one exists, so that the
// cost does not grow with the tables.
const (
	someOrder    = `(SELECT id FROM orders WHERE id >= (SELECT floor(random() * max(id)) FROM orders) ORDER BY id LIMIT 1)`
	someCustomer = `(SELECT id FROM customers WHERE id >= (SELECT floor(random() * max(id)) FROM customers) ORDER BY id LIMIT 1)`
	someProduct  = `(SELECT coalesce((SELECT id FROM products WHERE id >= (SELECT md5(random()::text)::uuid) ORDER BY id LIMIT 1), (SELECT id FROM products ORDER BY id LIMIT 1)))`
)

var works = []work{
	{name: "place an order", statements: []statement{
		{insert, `INSERT INTO orders (customer_id, status, total, placed_at, items, note, flags)
			SELECT ` + someCustomer + `, 'placed', price * 2, now(), jsonb_build_array(jsonb_build_object('product', id, 'quantity', 2, 'price', price)),
			       CASE WHEN random() < 0.2 THEN 'Ring twice.' END, ARRAY[random() < 0.5, NULL]
			FROM products WHERE id = ` + someProduct},
		{insert, `INSERT INTO order_events SELECT currval(pg_get_serial_sequence('orders', 'id')), 'placed', now() FROM generate_series(1, 1)`},
		{update, `UPDATE products SET attributes = attributes || jsonb_build_object('sold', coalesce((attributes ->> 'sold')::int, 0) + 2) WHERE id = ` + someProduct},
	}},
	{name: "ship orders", statements: []statement{
		{update, `UPDATE orders SET status = 'shipped', tracking = md5(random()::text)::uuid WHERE id IN (SELECT id FROM orders WHERE id >= ` + someOrder + ` ORDER BY id LIMIT 5)`},
		{insert, `INSERT INTO order_events VALUES (` + someOrder + `, 'shipped', now())`},
	}},
	{name: "change a price", statements: []statement{ // leaves the long description unchanged
		{update, `UPDATE products SET price = round(price * (0.9 + random()::numeric * 0.2), 2) + 0.01 WHERE id = ` + someProduct},
	}},
	{name: "describe a product anew", statements: []statement{
		{update, `UPDATE products SET description = description() WHERE id = ` + someProduct},
	}},
	{name: "register customers", statements: []statement{
		{insert, `INSERT INTO customers (name, email, country, created_at, tags)
			SELECT first_name() || ' ' || last_name(), 'new' || md5(random()::text) || '@example.com', pick(VARIADIC enum_range(NULL::country)::text[])::country, now(), ARRAY['new']
			FROM generate_series(1, 3)`},
	}},
	{name: "tag a customer", statements: []statement{
		{update, `UPDATE customers SET tags = tags[1:4] || pick('vip', 'loyal', 'moved') WHERE id = ` + someCustomer},
	}},
	{name: "delete an order", statements: []statement{
		{insert, `INSERT INTO order_events VALUES (` + someOrder + `, 'purged', now())`},
		{remove, `DELETE FROM orders WHERE id = ` + someOrder},
	}},
	{name: "fill a cart", statements: []statement{
		{insert, `INSERT INTO carts SELECT ` + someCustomer + `, 1, ` + someProduct + `, 1 ON CONFLICT (customer_id, position) DO UPDATE SET quantity = (carts.quantity % 30) + 1`},
	}},
	{name: "swap a product", statements: []statement{
		{remove, `DELETE FROM products WHERE id = ` + someProduct},
		{insert, `INSERT INTO products SELECT md5(random()::text)::uuid, product_name(), round((3 + random() * 400)::numeric, 2), attributes(), description(), ARRAY[1.5, 2.25, NULL]`},
	}},
	{name: "think better of it", rollback: true, statements: []statement{
		{insert, `INSERT INTO order_events VALUES (0, 'never happened', now())`},
	}},
}

var emptyCarts = work{name: "empty all carts", statements: []statement{{truncate, `TRUNCATE carts`}}}

// weighted lists works by index, the frequent ones more than once.
var weighted = []int{0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 4, 5, 5, 6, 7, 7, 8, 9}
