// The Leat plugin kit for TypeScript, that is AssemblyScript.
//
// A transform is a class that plans a table and, if it needs data, sees its
// batches. Sections are those of pdk/README.md, the interface itself.

export { Json } from "./json";
export { Field, From, Input, Plan, Rewrite, Table, Target, TargetColumn } from "./plan";
export { Batch, Op, Place, State, View } from "./batch";
export { Column, Output } from "./output";
export { Checkpoint, Destination, Info, Ingest, IngestColumn, Landing, LandingColumn, Open, Source, WriteBatch } from "./destination";
export { Failure, HttpRequest, HttpResponse, KernelResult, Names, Rows, Stored, blob, http, kv, now, random, runKernel, sql, utf8 } from "./host";
export { Level, Transform, log, registerTransform, registerDestination } from "./exports";
