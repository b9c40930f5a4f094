// The exports of a transform: export * from "leat/assembly/transform".
export { leat_abi_version, leat_alloc, leat_plan, leat_process } from "./exports";
export { abort } from "./abort";
