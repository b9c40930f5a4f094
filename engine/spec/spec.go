package spec

import (
	"slices"
	"time"

	"github.com/leat-etl/leat/plugins/bundle"
	"github.com/leat-etl/leat/plugins/bundle/strict"
)

// Spec is a pipeline as its file describes it, checked and with defaults.
type Spec struct {
	Name          string        `toml:"name" doc:"Name of the pipeline, unique among those that share a source or a state folder." required:"true" min:"1" max:"255"`
	Source        Source        `toml:"source" doc:"The PostgreSQL server that is replicated." required:"true"`
	Objects       Objects       `toml:"objects" doc:"Which tables are replicated."`
	Values        Values        `toml:"values" doc:"What becomes of values that not every destination can hold. Elements of arrays, bounds of ranges and fields of composites are handed on as they are."`
	SchemaChanges SchemaChanges `toml:"schema_changes" doc:"What happens when a source table changes its shape."`
	Transforms    []Transform   `toml:"transforms" doc:"Plugins that shape the rows, in this order."`
	Destination   Destination   `toml:"destination" doc:"Where the rows go." required:"true"`
	Plugins       Plugins       `toml:"plugins" doc:"Which plugins of publishers are trusted. leat.lock beside the pipeline file pins them."`
	Engine        Engine        `toml:"engine" doc:"How the engine works. The defaults suit most pipelines."`
	Metrics       Metrics       `toml:"metrics" doc:"Prometheus metrics."`
	Log           Log           `toml:"log" doc:"What is logged, and how."`

	// Path is the file; file names in it are relative to Dir.
	Path string `toml:"-"`
	Dir  string `toml:"-"`
	// Warnings are sentences about what works but should not stay.
	Warnings []string `toml:"-"`

	// inQuery is the place in the file of a character of Source.Query, from 1,
	// of the key itself for 0. It is a function for the reason that Secret's
	// from is one.
	inQuery func(char int) (line, column int)
	place   func(strict.Path) (line, column int)
}

// Source is the server and how it is read.
type Source struct {
	Type               string        `toml:"type" doc:"Kind of the source." default:"postgres" enum:"postgres"`
	Host               string        `toml:"host" doc:"Host name, address, or the folder of a Unix socket, without http:// or https://. Give host or hosts, not both; a service may give it, too."`
	Port               int           `toml:"port" doc:"TCP port." default:"5432" min:"1" max:"65535"`
	Hosts              []string      `toml:"hosts" doc:"Several servers, host or host:port, of which the first that answers and fits target_session_attrs is taken, at the start and whenever the connection was lost: [\"a.example.com:5432\", \"b.example.com\"]. port is that of those that name none."`
	TargetSessionAttrs string        `toml:"target_session_attrs" doc:"What the server has to be. The default is read-write with hosts and any with host." enum:"any|read-write|read-only|primary|standby|prefer-standby"`
	Service            string        `toml:"service" doc:"Section of the service file (PGSERVICEFILE, ~/.pg_service.conf or the system's pg_service.conf) that gives what is not set here: host, port, user, password, encryption. The database stands here."`
	User               string        `toml:"user" doc:"Role that logs in. It needs REPLICATION, and SELECT on the tables. A service may give it."`
	Password           Secret        `toml:"password" doc:"Password of the role. Without it the password file (PGPASSFILE or ~/.pgpass, which only its owner may have access to) is looked into. Leave it out where the server asks for none."`
	ReceiveTimeout     time.Duration `toml:"receive_timeout" doc:"In mode logical, how long the server may send nothing, not even an answer when it is asked for one, before the connection is given up and made anew. The wait doubles while it keeps happening." default:"60s" min:"1s" max:"24h"`
	Database           string        `toml:"database" doc:"The database to replicate. Give database or databases, not both." max:"63"`
	Databases          []string      `toml:"databases" doc:"Several databases of the server to replicate. Give database or databases, not both."`
	Mode               string        `toml:"mode" doc:"How changes are read: logical from the write-ahead log; table by queries, see query_mode; xmin by queries for the rows that transactions wrote since the last run; sql by a query of your own." default:"logical" enum:"logical|table|xmin|sql"`
	Frequency          Frequency     `toml:"frequency" doc:"How often the source is read: continuous, or a duration of 1s to 24h between the starts of two runs. The default is continuous in mode logical, otherwise 6h. A slot keeps the log that is written between two runs."`
	Query              string        `toml:"query" doc:"The query of mode sql: one SELECT, WITH, VALUES or TABLE."`
	QueryName          string        `toml:"query_name" doc:"Name of the table that the query of mode sql makes, in the schema public. The default is query." max:"63"`
	LoadHistoricalData bool          `toml:"load_historical_data" doc:"Load the rows that exist before streaming what changes. false replicates only what is written after the pipeline was created." default:"true"`
	IncludeNewTables   bool          `toml:"include_new_tables" doc:"Let tables that are created after the pipeline join by themselves, if include and exclude select them: they are published and loaded while the others go on. false lists them as SKIPPED until leat objects include takes them in; a table that include names without a wildcard is always wanted. It may be changed at any time." default:"true"`
	Partitions         string        `toml:"partitions" doc:"What a partitioned table is: root, one table with the rows of all its partitions (13 and later); leaf, one table for each partition." default:"root" enum:"root|leaf"`
	MergeTables        bool          `toml:"merge_tables" doc:"Load tables of one name from several databases into one table, with the database name in each row. false puts the database name before each table name." default:"false"`
	TableName          string        `toml:"table_name" doc:"Name of a table at the destination, with {database}, {schema} and {table} for those of the source. The default is {table}, and {database}_{table} for several databases that are not merged."`
	Publication        string        `toml:"publication" doc:"Name of the publication; the default is made from the pipeline's name." max:"63"`
	Slot               string        `toml:"slot" doc:"Name of the replication slot; the default is made from the pipeline's name. With several databases the number of the database is appended." max:"63"`
	Heartbeat          time.Duration `toml:"heartbeat" doc:"How often a quiet database is written a message, so that its slot moves on and old log can be removed." default:"30s" min:"1s" max:"24h"`
	Messages           []string      `toml:"messages" doc:"Prefixes of logical messages (pg_logical_emit_message) that are replicated: each message is a row of the table leat.messages, in order with the changes around it. A prefix is meant by its name, or by its beginning and a star: \"audit.*\". Needs mode = \"logical\", decoder = \"pgoutput\" and PostgreSQL 14."`
	DDLCapture         bool          `toml:"ddl_capture" doc:"Let event triggers in the source's databases write every change of a table into the log, so that it comes to the destination at its exact place in its transaction, whether rows follow or not. true is the consent to install them, in the schema leat_ddl, where the role may (a superuser; rds_superuser and the like at managed servers); otherwise leat check prints the SQL for one who may, and until then changes are told by the rows after them and the catalogue. Needs mode = \"logical\", decoder = \"pgoutput\" and PostgreSQL 14." default:"false"`
	WALBudget          strict.Bytes  `toml:"wal_budget" doc:"How much log a slot may keep at the source; 0B is no budget." default:"0B"`
	WALBudgetAction    string        `toml:"wal_budget_action" doc:"What happens beyond wal_budget. alert logs it; spool takes the log to the state folder until the destination takes it, up to spool_budget; pause_object pauses the table that most of the log is of, as leat objects pause does, one after the other while the log grows; drop_slot saves the disk of the source: the slot is dropped, the pipeline ends, and everything has to be loaded again." default:"alert" enum:"alert|spool|pause_object|drop_slot"`
	Decoder            string        `toml:"decoder" doc:"Plugin with which the server decodes its log. test_decoding is for servers without pgoutput; it needs a database in UTF8." default:"pgoutput" enum:"pgoutput|test_decoding"`
	DecoderFormat      string        `toml:"decoder_format" doc:"How the server sends values. auto chooses what is faster for the tables." default:"auto" enum:"auto|text|binary"`
	Streaming          string        `toml:"streaming" doc:"When large transactions are received. auto: while they are in progress, where the server can (14 and later); what is not committed waits in the state folder. off: at their commit." default:"auto" enum:"auto|off"`
	TwoPhase           bool          `toml:"two_phase" doc:"Receive prepared transactions at their PREPARE TRANSACTION (15 and later); they are delivered at COMMIT PREPARED either way. Once a slot has it, it stays." default:"false"`
	TLS                TLS           `toml:"tls" doc:"Encryption of the connection."`
	SSH                SSH           `toml:"ssh" doc:"A server through which every connection to the source goes."`
}

// SSH is a tunnel to the source. It is used where Host is set.
type SSH struct {
	Host          string `toml:"host" doc:"SSH server through which the source is reached. The source's host and port are as seen from there."`
	Port          int    `toml:"port" doc:"Its port." default:"22" min:"1" max:"65535"`
	User          string `toml:"user" doc:"User that logs in there."`
	KeyFile       string `toml:"key_file" doc:"Private key of the user: RSA, ECDSA or Ed25519, encrypted or not. Without it the SSH agent at SSH_AUTH_SOCK is asked."`
	KeyPassphrase Secret `toml:"key_passphrase" doc:"Passphrase of an encrypted key_file."`
	KnownHosts    string `toml:"known_hosts" doc:"File that proves the server's host key, which is always verified. The default is ~/.ssh/known_hosts and /etc/ssh/ssh_known_hosts."`
}

// TLS says how the connection to the source is encrypted.
type TLS struct {
	Mode                  string `toml:"mode" doc:"As PostgreSQL's sslmode. verify-full is the only one that proves which server answers." default:"prefer" enum:"disable|allow|prefer|require|verify-ca|verify-full"`
	CAFile                string `toml:"ca_file" doc:"Certificates of the authorities to trust, PEM; the default is the system's."`
	LoadAllCACertificates bool   `toml:"load_all_ca_certificates" doc:"Trust all certificates of ca_file, up to 50. false trusts the first only." default:"true"`
	ClientCertificate     string `toml:"client_certificate" doc:"Certificate with which the role proves itself, PEM file."`
	ClientKey             string `toml:"client_key" doc:"Private key of client_certificate, PEM file: RSA, ECDSA or Ed25519, encrypted or not."`
	ClientKeyPassword     Secret `toml:"client_key_password" doc:"Password of an encrypted client_key."`
}

// Objects selects tables.
type Objects struct {
	Include []Pattern `toml:"include" doc:"Patterns schema.table of tables to replicate; * stands for any characters, ? for one, double quotes for themselves: public.*, \"My.Schema\".*" default:"*.*"`
	Exclude []Pattern `toml:"exclude" doc:"Patterns of tables to leave out although include names them."`
	// Rules say how single tables are read; the first that names a table counts.
	Rules []ObjectRule `toml:"*" contains:"." name:"\"schema.table\"" doc:"How the tables of a pattern are read. The first section of the file that names a table counts."`
}

// Selection returns the matcher of the two lists.
func (o Objects) Selection() Selection { return Selection{o.Include, o.Exclude} }

// Names says whether the file includes a table by its name, not by a wildcard.
func (o Objects) Names(schema, table string) bool {
	return slices.ContainsFunc(o.Include, func(p Pattern) bool { return p.literal() && p.Match(schema, table) })
}

// SchemaChanges is the policy for changes of source tables.
type SchemaChanges struct {
	Default       string `toml:"default" doc:"What happens to changes that have no key of their own. apply follows them at the destination, in order with the rows; hold lets the table alone wait before the first row that has the change: what comes of it is kept in the state folder until leat objects resume applies it, in order; a table that was renamed or dropped, or was never loaded, cannot wait and blocks. block ends the pipeline before that row." default:"apply" enum:"apply|hold|block"`
	ColumnAdded   string `toml:"column_added" doc:"A column was added. apply adds it, with its default in the rows that are there; withhold keeps it from every plugin and the destination until claim in a section of [objects] names it." default:"default" enum:"default|apply|withhold|hold|block"`
	ColumnDropped string `toml:"column_dropped" doc:"A column was dropped. apply keeps it at the destination, NULL in new rows." default:"default" enum:"default|apply|hold|block"`
	ColumnRenamed string `toml:"column_renamed" doc:"A column was renamed. apply renames it." default:"default" enum:"default|apply|hold|block"`
	ColumnRetyped string `toml:"column_retyped" doc:"A column got another type. apply gives it a type at the destination that holds the old values and the new." default:"default" enum:"default|apply|hold|block"`
	KeyChanged    string `toml:"key_changed" doc:"The columns that identify a row are others." default:"default" enum:"default|apply|hold|block"`
	TableRenamed  string `toml:"table_renamed" doc:"A table was renamed. apply loads it under its new name; what is under the old one stays." default:"default" enum:"default|apply|block"`
	TableDropped  string `toml:"table_dropped" doc:"A table was dropped. apply leaves its rows at the destination." default:"default" enum:"default|apply|block"`
}

// Transform is one plugin of the chain.
type Transform struct {
	Plugin  string        `toml:"plugin" doc:"Name of a bundled plugin, name@version, publisher/name@version of one that leat.lock pins, or the path of a module or of its folder, starting with ./ or /." required:"true" min:"1"`
	Tables  []Pattern     `toml:"tables" doc:"Patterns of the tables it works on." default:"*.*"`
	Columns []string      `toml:"columns" doc:"The only columns that the plugin may see; the default is all that it asks for."`
	Config  Config        `toml:"config" doc:"Settings of the plugin, checked against its own schema. A string may come from outside: { env = \"NAME\" } or { file = \"path\" }."`
	Limits  bundle.Limits `toml:"limits" doc:"Bounds of the plugin; the defaults are those of its manifest."`
	Grants  Grants        `toml:"grants" doc:"What the plugin may use beyond its columns. What is not granted does not link: a plugin that needs it is refused."`
	Shadow  string        `toml:"shadow" doc:"Another version of the plugin, named as plugin is, that is given the same rows with the same settings. What it makes of them is compared and thrown away, and what it keeps under its grants is apart from what plugin keeps: leat status says what differs, leat plugin promote puts it in the place of plugin."`
}

// Destination is the plugin that lands the rows.
type Destination struct {
	Plugin string        `toml:"plugin" doc:"Name of a bundled plugin, name@version, publisher/name@version of one that leat.lock pins, or the path of a module or of its folder, starting with ./ or /." required:"true" min:"1"`
	Config Config        `toml:"config" doc:"Settings of the plugin, checked against its own schema. A string, a password above all, may come from outside: { env = \"NAME\" } or { file = \"path\" }."`
	Limits bundle.Limits `toml:"limits" doc:"Bounds of the plugin; the defaults are those of its manifest."`
	Grants Grants        `toml:"grants" doc:"What the plugin may use beside its database. What is not granted does not link: a plugin that needs it is refused."`
}

// Grants are capabilities with their bounds.
type Grants struct {
	HTTP      HTTPGrant    `toml:"http" doc:"Requests to servers."`
	KV        strict.Bytes `toml:"kv" doc:"How much the plugin may keep between runs, in a space of its own in the state folder; 0B is nothing." default:"0B" max:"1GB"`
	Blob      string       `toml:"blob" doc:"Folder of this machine in which the plugin may read and write files; a relative one is below that of the pipeline file."`
	BlobBytes strict.Bytes `toml:"blob_bytes" doc:"The most bytes that the folder of blob may hold before the plugin is refused another." default:"1GB"`
	BlobFiles int          `toml:"blob_files" doc:"The most files and folders that the folder of blob may hold before the plugin is refused another." default:"10000" min:"1"`
	Clock     bool         `toml:"clock" doc:"Let the plugin know the time of day."`
	Random    bool         `toml:"random" doc:"Let the plugin draw random numbers."`
}

// HTTPGrant is an allow-list. It is granted where Hosts has an entry.
type HTTPGrant struct {
	Hosts    []string      `toml:"hosts" doc:"Hosts that may be asked, by HTTPS: api.example.org, example.org:8443, *.example.org; http:// before one allows it without encryption. Private and local addresses are refused unless the address or its network, such as 10.0.0.0/8, stands here, too. Redirects and the answers of name servers are held against the list again."`
	Timeout  time.Duration `toml:"timeout" doc:"The longest that a request may take, with its redirects." default:"10s" min:"10ms" max:"5m"`
	MaxBytes strict.Bytes  `toml:"max_bytes" doc:"The largest body of a request or an answer." default:"8MB" max:"64MB"`
}

// Plugins says which plugins of publishers may run.
type Plugins struct {
	Trust string `toml:"trust" doc:"Trust store with the publishers' keys; the default is the user's own, which leat plugin trust edits."`
}

// Engine tunes the data path.
type Engine struct {
	StateDir      string        `toml:"state_dir" doc:"Folder that remembers where the pipeline stands; the default is .leat/<name> beside the pipeline file."`
	BatchRows     int           `toml:"batch_rows" doc:"The most rows of one batch." default:"50000" min:"1" max:"10000000"`
	BatchBytes    strict.Bytes  `toml:"batch_bytes" doc:"The size at which a batch is cut." default:"32MB" min:"1kB" max:"1GB"`
	SpoolBudget   strict.Bytes  `toml:"spool_budget" doc:"How much log may be kept in the state folder while the destination does not take it: all of it, or that of tables whose history is loaded beside the stream. Beyond it the log waits at the source." default:"10GB" min:"1MB"`
	Capsules      string        `toml:"capsules" doc:"Whether the call of a transform that stops the pipeline is kept in the state folder, where leat plugin test capsule makes it again: with the values of its rows, with masked values, or not." default:"values" enum:"values|masked|off"`
	MaxEventBytes strict.Bytes  `toml:"max_event_bytes" doc:"The largest row or change that is replicated. Of a larger one a failed event keeps key and size, and nothing else stops. One that is replicated takes up to about eight times its size in memory on its way, beside memory." default:"128MB" min:"1kB" max:"1GB"`
	FlushInterval time.Duration `toml:"flush_interval" doc:"The longest that a change waits before it is sent to the destination." default:"1s" min:"10ms" max:"24h"`
	Memory        strict.Bytes  `toml:"memory" doc:"Budget for rows that are on their way." default:"256MB" min:"16MB"`
	LoadWorkers   int           `toml:"load_workers" doc:"How many connections read the source during a historical load." default:"2" min:"1" max:"64"`
	LoadOrder     string        `toml:"load_order" doc:"Which tables a historical load reads first: the smallest, so that most of them are soon up to date; the largest; or listed, those that an earlier pattern of include names." default:"smallest" enum:"smallest|largest|listed"`
	LoadRows      int           `toml:"load_rows" doc:"The most rows of one batch of a historical load." default:"65536" min:"1" max:"10000000"`
	ChunkBytes    strict.Bytes  `toml:"chunk_bytes" doc:"Size of the parts in which a table is loaded, by what the rows take on their way, large values included. Each is one transaction at the destination; one that would take it from the other tables for longer than a second or two is made smaller. A crash repeats at most the parts under way." default:"128MB" min:"64kB" max:"16GB"`
}

// Metrics says where metrics can be read.
type Metrics struct {
	Listen string `toml:"listen" doc:"Address that serves Prometheus metrics at /metrics, for example 127.0.0.1:9187. Empty serves none." default:""`
}

// Log says what is logged.
type Log struct {
	Level  string `toml:"level" doc:"The least severe messages that are logged." default:"info" enum:"debug|info|warn|error"`
	Format string `toml:"format" doc:"text, coloured on a terminal, or json." default:"text" enum:"text|json"`
}

// Schema returns the JSON Schema (2020-12) of pipeline files.
func Schema() []byte {
	return strict.Schema(Spec{}, "Leat pipeline", "A pipeline that replicates PostgreSQL through plugins into a destination.")
}

// Reference returns the keys of pipeline files as Markdown.
func Reference() string { return strict.Reference(Spec{}) }
