package capability

import "context"

// KV is the space of one plugin in the state of a pipeline. Writes are durable
// when they return; they are not part of the destination's transaction.
type KV interface {
	// Get returns a value, nil where there is none.
	Get(ctx context.Context, key string) ([]byte, error)
	// Put fails with an Error of class Resource beyond the quota.
	Put(ctx context.Context, key string, value []byte) error
	Delete(ctx context.Context, key string) error
	// List returns up to limit keys that start with prefix, in order.
	List(ctx context.Context, prefix string, limit int) ([]string, error)
}
