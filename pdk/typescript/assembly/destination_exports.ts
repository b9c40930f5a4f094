// The exports of a destination: export * from "leat/assembly/destination_exports".
export { leat_abi_version, leat_alloc, leat_plan, leat_open, leat_write, leat_commit, leat_checkpoint, leat_rollback, leat_close } from "./exports";
export { abort } from "./abort";
