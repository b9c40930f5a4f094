-- Leat's capture of schema changes, version {version}. It may be run again.
BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;
SELECT pg_advisory_xact_lock(1818583412);
DO $leat$
DECLARE
	key oid;
BEGIN
	IF EXISTS (SELECT FROM pg_namespace n JOIN pg_roles r ON r.oid = n.nspowner WHERE n.nspname = 'leat_ddl' AND NOT r.rolsuper AND r.rolname <> current_user) THEN
		RAISE insufficient_privilege USING MESSAGE = 'schema leat_ddl belongs to another role, which could change what runs with every change of a table';
	END IF;
	CREATE SCHEMA IF NOT EXISTS leat_ddl;
	EXECUTE format('GRANT USAGE ON SCHEMA leat_ddl TO %I', {role});
	IF to_regprocedure('leat_ddl.key()') IS NULL THEN
		key := lo_from_bytea(0, uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()));
		EXECUTE format('CREATE FUNCTION leat_ddl.key() RETURNS oid LANGUAGE sql IMMUTABLE AS ''SELECT %s::pg_catalog.oid''', key);
	END IF;
	EXECUTE format('GRANT SELECT ON LARGE OBJECT %s TO %I', leat_ddl.key(), {role});
END $leat$;
CREATE OR REPLACE FUNCTION leat_ddl.capture() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $leat$
DECLARE
	messages text[];
	touched oid[];
	message text;
	content bytea;
	key bytea;
BEGIN
	IF tg_event = 'sql_drop' THEN
		messages := ARRAY(SELECT json_build_object('v', {version}, 'xid', txid_current(), 'dropped', true, 'oid', d.objid::bigint, 'schema', d.schema_name, 'name', d.object_name)::text
			FROM pg_event_trigger_dropped_objects() d
			WHERE d.classid = 'pg_class'::regclass AND d.objsubid = 0 AND d.object_type = 'table' AND NOT d.is_temporary);
		-- Columns go with their type, too. After ALTER TABLE ddl_command_end tells.
		touched := ARRAY(SELECT d.objid FROM pg_event_trigger_dropped_objects() d
			WHERE d.classid = 'pg_class'::regclass AND d.objsubid > 0 AND tg_tag <> 'ALTER TABLE');
	ELSE
		touched := ARRAY(WITH RECURSIVE command(classid, objid) AS MATERIALIZED (SELECT c.classid, c.objid FROM pg_event_trigger_ddl_commands() c),
			altered(oid) AS (
				SELECT objid FROM command WHERE classid = 'pg_type'::regclass AND tg_tag LIKE 'ALTER %'
				UNION SELECT r.reltype FROM command JOIN pg_class r ON r.oid = objid AND r.relkind = 'c' WHERE classid = 'pg_class'::regclass AND tg_tag LIKE 'ALTER %'),
			tree(oid) AS (
				SELECT objid FROM command WHERE classid = 'pg_class'::regclass
				UNION SELECT r.oid FROM command JOIN pg_class r ON r.relnamespace = objid WHERE classid = 'pg_namespace'::regclass AND tg_tag = 'ALTER SCHEMA'
				UNION SELECT a.attrelid FROM altered JOIN pg_type t ON t.oid = altered.oid JOIN pg_attribute a ON a.atttypid IN (t.oid, t.typarray)
				UNION SELECT i.inhrelid FROM tree JOIN pg_inherits i ON i.inhparent = tree.oid)
			SELECT oid FROM tree);
	END IF;
	messages := messages || ARRAY(SELECT json_build_object('v', {version}, 'xid', txid_current(), 'oid', c.oid::bigint, 'schema', n.nspname, 'name', c.relname,
			'kind', c.relkind::text, 'identity', c.relreplident::text,
			'immediate', EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary AND i.indisvalid AND i.indimmediate),
			'columns', (SELECT json_agg(json_build_object('id', a.attnum, 'name', a.attname, 'type', a.atttypid::bigint, 'typmod', a.atttypmod, 'nullable', NOT a.attnotnull,
					'generated', a.attgenerated::text, 'dropped', a.attisdropped, 'missing', {missing},
					'primary', coalesce((SELECT k.n FROM pg_index i, unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, n)
						WHERE i.indrelid = a.attrelid AND i.indisprimary AND k.attnum = a.attnum AND k.n <= i.indnkeyatts), 0),
					'identity', coalesce((SELECT k.n FROM pg_index i, unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, n)
						WHERE i.indrelid = a.attrelid AND i.indisreplident AND i.indisvalid AND k.attnum = a.attnum AND k.n <= i.indnkeyatts), 0)
				) ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0))::text
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.oid = ANY(touched) AND c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND n.nspname NOT IN ('pg_catalog', 'information_schema')
		ORDER BY c.oid);
	FOREACH message IN ARRAY coalesce(messages, '{}') LOOP
		key := coalesce(key, lo_get(leat_ddl.key()));
		content := convert_to(message, 'UTF8');
		PERFORM pg_logical_emit_message(true, '{prefix}', sha256(substr(key, 33) || sha256(substr(key, 1, 32) || content)) || content);
	END LOOP;
EXCEPTION WHEN OTHERS THEN
	RAISE WARNING 'Leat has not captured this change, and will learn of it later: %', SQLERRM;
END $leat$;
COMMENT ON FUNCTION leat_ddl.capture() IS 'Leat DDL capture, version {version}';
DROP EVENT TRIGGER IF EXISTS leat_ddl_end;
CREATE EVENT TRIGGER leat_ddl_end ON ddl_command_end EXECUTE FUNCTION leat_ddl.capture();
ALTER EVENT TRIGGER leat_ddl_end ENABLE ALWAYS;
DROP EVENT TRIGGER IF EXISTS leat_ddl_drop;
CREATE EVENT TRIGGER leat_ddl_drop ON sql_drop EXECUTE FUNCTION leat_ddl.capture();
ALTER EVENT TRIGGER leat_ddl_drop ENABLE ALWAYS;
COMMIT;
