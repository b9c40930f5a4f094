package server

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/leat-etl/leat/engine"
)

// Metrics returns a handler with the Prometheus metrics of pipelines.
func Metrics(pipelines ...*engine.Pipeline) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), &collector{pipelines})
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	return mux
}

// collector reads the counters of the pipelines when it is asked.
type collector struct{ pipelines []*engine.Pipeline }

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("leat_"+name, help, append([]string{"pipeline"}, labels...), nil)
}

var (
	rowsTotal      = describe("rows_total", "Rows delivered.", "database", "schema", "table", "operation")
	bytesTotal     = describe("bytes_total", "Bytes of row values delivered.", "database", "schema", "table")
	loadChunks     = describe("load_chunks", "Chunks of the historical load that are done.", "database", "schema", "table")
	loadChunksAll  = describe("load_chunks_planned", "Chunks of the historical load.", "database", "schema", "table")
	lagBytes       = describe("lag_bytes", "Log at the source behind what is durable at the destination.", "database")
	lagSeconds     = describe("lag_seconds", "Age of the newest delivered commit when it was delivered, 0 when caught up.", "database")
	retainedWAL    = describe("retained_wal_bytes", "Log that the source keeps for the slot.", "database")
	deliveries     = describe("deliveries_total", "Transactions committed at the destination.")
	deliveryRows   = describe("delivery_rows_total", "Rows in those transactions: with deliveries_total their mean size.")
	failedTotal    = describe("failed_events_total", "Rows set aside as failed events since the start.")
	failedKept     = describe("failed_events", "Failed events that are kept now and not superseded by a truncate.")
	pluginSeconds  = describe("plugin_seconds_total", "Time in calls of a plugin, host functions included.", "plugin")
	pluginFuel     = describe("plugin_fuel_total", "Fuel that a plugin has used.", "plugin")
	pluginMemory   = describe("plugin_memory_bytes", "Memory of a plugin's instances.", "plugin")
	pluginCalls    = describe("plugin_calls_total", "Calls of a plugin.", "plugin")
	shadowRows     = describe("shadow_rows_total", "Rows on which a candidate was compared with the live plugin.", "plugin")
	shadowDiffers  = describe("shadow_differences_total", "Rows on which they differ.", "plugin")
	shadowErrors   = describe("shadow_errors_total", "Batches on which a candidate failed.", "plugin")
	pluginRows     = describe("plugin_rows_total", "Rows that a plugin was given (in), made (out), of these changed in a value (changed), and refused (failed).", "plugin", "rows")
	pluginHost     = describe("plugin_host_calls_total", "Host functions that a plugin has called.", "plugin")
	pluginCopied   = describe("plugin_copied_bytes_total", "Bytes of columns copied into a plugin's memory (in) and out of it (out).", "plugin", "direction")
	pluginRecycled = describe("plugin_recycled_total", "Instances thrown away after a failure or past their high-water mark.", "plugin")
)

// Describe implements prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, out) }

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	for _, p := range c.pipelines {
		name := p.Spec.Name
		send := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
			out <- prometheus.MustNewConstMetric(d, kind, v, append([]string{name}, labels...)...)
		}
		s := p.Status()
		var rows int64
		for _, t := range s.Tables {
			at := []string{t.Table.Database, t.Table.Schema, t.Table.Name}
			for op, n := range map[string]int64{"insert": t.Inserts, "update": t.Updates, "delete": t.Deletes, "truncate": t.Truncates, "read": t.Loaded} {
				send(rowsTotal, prometheus.CounterValue, float64(n), append(at[:3:3], op)...)
				rows += n
			}
			send(bytesTotal, prometheus.CounterValue, float64(t.Bytes), at...)
			send(loadChunks, prometheus.GaugeValue, float64(t.LoadChunks), at...)
			send(loadChunksAll, prometheus.GaugeValue, float64(t.LoadTotal), at...)
		}
		for _, d := range s.Databases {
			send(lagBytes, prometheus.GaugeValue, float64(d.LagBytes), d.Database)
			send(lagSeconds, prometheus.GaugeValue, d.LagSeconds, d.Database)
			send(retainedWAL, prometheus.GaugeValue, float64(d.RetainedWAL), d.Database)
		}
		send(deliveries, prometheus.CounterValue, float64(s.Batches))
		send(deliveryRows, prometheus.CounterValue, float64(rows))
		send(failedTotal, prometheus.CounterValue, float64(s.Failed))
		if kept, err := p.FailedCount(); err == nil {
			send(failedKept, prometheus.GaugeValue, float64(kept))
		}
		for _, r := range s.Shadows {
			send(shadowRows, prometheus.CounterValue, float64(r.Rows), r.Transform)
			send(shadowDiffers, prometheus.CounterValue, float64(r.Differing+r.OnlyLive+r.OnlyCandidate+r.FailedLive+r.FailedCandidate), r.Transform)
			send(shadowErrors, prometheus.CounterValue, float64(r.Errors), r.Transform)
		}
		for plugin, s := range p.PluginStats() {
			send(pluginSeconds, prometheus.CounterValue, float64(s.Nanoseconds)/1e9, plugin)
			send(pluginFuel, prometheus.CounterValue, float64(s.Fuel), plugin)
			send(pluginMemory, prometheus.GaugeValue, float64(s.MemoryBytes), plugin)
			send(pluginCalls, prometheus.CounterValue, float64(s.Calls), plugin)
			for kind, n := range map[string]uint64{"in": s.Rows, "out": s.RowsOut, "changed": s.RowsChanged, "failed": s.RowsFailed} {
				send(pluginRows, prometheus.CounterValue, float64(n), plugin, kind)
			}
			send(pluginHost, prometheus.CounterValue, float64(s.HostCalls), plugin)
			send(pluginCopied, prometheus.CounterValue, float64(s.BytesIn), plugin, "in")
			send(pluginCopied, prometheus.CounterValue, float64(s.BytesOut), plugin, "out")
			send(pluginRecycled, prometheus.CounterValue, float64(s.Recycled), plugin)
		}
	}
}
