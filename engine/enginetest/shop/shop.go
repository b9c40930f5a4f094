// Package shop is the sample data of `leat demo`: the databases shop_eu and
// shop_us with the same tables, filled quickly with believable rows, and a
// Writer that keeps changing them. Both depend on nothing but their seed.
package shop

import (
	"context"
	_ "embed"
	"fmt"
	"hash/fnv"

	"github.com/jackc/pgx/v5"
)

// Databases are the names of the two sample databases.
var Databases = []string{"shop_eu", "shop_us"}

//go:embed schema.sql
var schemaSQL string

//go:embed rows.sql
var rowsSQL string

// Scale 1 is this many rows of each table.
const (
	customersPerScale = 1_000
	productsPerScale  = 200
	ordersPerScale    = 5_000
	cartsPerScale     = 300
)

// Create makes a database on the server that dsn names, its tables, and scale
// times a thousand customers with all that belongs to them. dsn's own database
// is only used to connect.
func Create(ctx context.Context, dsn, database string, scale int) error {
	server, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return fmt.Errorf("create database %q: %w", database, err)
	}
	defer server.Close(ctx)
	if _, err := server.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{database}.Sanitize()); err != nil {
		return fmt.Errorf("create database %q: %w", database, err)
	}
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return fmt.Errorf("create database %q: %w", database, err)
	}
	config.Database = database
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return fmt.Errorf("fill database %q: %w", database, err)
	}
	defer conn.Close(ctx)
	return fill(ctx, conn, database, scale)
}

// fill makes the tables and their rows in one transaction.
func fill(ctx context.Context, conn *pgx.Conn, database string, scale int) error {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return fmt.Errorf("fill database %q: %w", database, err)
	}
	defer tx.Rollback(ctx)
	seed := fmt.Sprintf("SELECT setseed(%f)", seedOf(database))
	sizes := fmt.Sprintf(`SET LOCAL shop.customers = %d; SET LOCAL shop.products = %d; SET LOCAL shop.orders = %d; SET LOCAL shop.carts = %d`,
		customersPerScale*scale, productsPerScale*scale, ordersPerScale*scale, cartsPerScale*scale)
	for _, sql := range []string{schemaSQL, sizes, seed, rowsSQL} {
		if _, err := tx.Exec(ctx, sql); err != nil {
			return fmt.Errorf("fill database %q: %w", database, err)
		}
	}
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("fill database %q: %w", database, err)
	}
	if _, err := conn.Exec(ctx, "ANALYZE"); err != nil {
		return fmt.Errorf("analyze database %q: %w", database, err)
	}
	return nil
}

// seedOf gives every database rows of its own: a number from 0 to below 1.
func seedOf(database string) float64 {
	h := fnv.New32a()
	h.Write([]byte(database))
	return float64(h.Sum32()) / (1 << 32)
}
