//! The reference page, `docs/configuration.md`, generated from the types.

use std::fmt::Write as _;

use super::keys::{self, Key};

const HEAD: &str = "\
# Configuration

This page is generated: `roadstead config reference` prints it from the types the configuration is read into.

Without any configuration, `roadstead serve` listens on 127.0.0.1:5000 and keeps its data in `./roadstead-data`.
A YAML file is given by `--config FILE` or the variable `ROADSTEAD_CONFIG`:

```yaml
http: {addr: 127.0.0.1:5000}
storage:
  filesystem: {rootdirectory: /var/lib/roadstead/blobs}
metadata: {raft: {directory: /var/lib/roadstead/metadata}}
log: {level: info, format: text}
```

Blobs in a bucket, in place of a directory (what to know about it: [storage-s3.md](storage-s3.md)):

```yaml
storage:
  s3: {bucket: images, region: eu-central-1, accesskey: AKIA..., secretkey: ...}
```

Metadata in PostgreSQL, in place of this machine (what to know about it: [metadata-postgres.md](metadata-postgres.md)):

```yaml
metadata:
  postgres: {url: \"postgres://roadstead@db1,db2/roadstead\", password_file: /run/secrets/db, standbys: [\"db2:5432\"]}
```

TLS with a certificate of your own (what to know about it: [tls.md](tls.md)); without one, a server that other machines
can reach makes one:

```yaml
http:
  addr: \":443\"
  host: https://registry.example.com
  tls: {certificate: /etc/roadstead/tls.crt, key: /etc/roadstead/tls.key}
  plain: {addr: \":80\"}
```

`roadstead config check FILE` tells everything that is wrong with a file at once, and ends with exit code 0 when the
configuration is right, 2 when it is not. An unknown key is an error.

## Where a value comes from

A flag wins over an environment variable, a variable over the file, the file over the default.

Every key has its variable: `ROADSTEAD_`, then the path in capitals with two underscores between the levels.
Any of them may end in `_FILE`; the value is then the content of the file named, without the line end at its end
(`ROADSTEAD_HTTP__SECRET_FILE=/run/secrets/http`). An unknown variable that begins with `ROADSTEAD_` is an error,
except for those that Kubernetes makes for a service of that name, and for `ROADSTEAD_SERVER`, `ROADSTEAD_CA` and
`ROADSTEAD_TOKEN`, by which commands reach a server ([administration.md](administration.md)).

## Values

- **duration**: numbers with units, largest first: `500ms`, `30s`, `5m`, `1h30m`, `7d`. A number without a unit is an error.
- **size**: a number with a unit: `KiB`, `MiB`, `GiB`, `TiB` (powers of 1,024) or `KB`, `MB`, `GB`, `TB` (powers of 1,000);
  without a unit it is bytes.
- **text**: as written; quote what YAML would read otherwise.

## Files written for distribution

The keys of distribution's format 0.1 and its `REGISTRY_...` variables are known. Those that have a counterpart are
honoured (`log.formatter`, `storage.maintenance.uploadpurging.age`, ...); a `ROADSTEAD_...` variable wins over a
`REGISTRY_...` one. The others are ignored with a warning that names them, or refused where ignoring them would leave
the registry open, unprotected or useless: `auth.token`, `http.tls.ciphersuites`, `proxy`, read-only mode, other storage drivers.

## Keys
";

/// The page.
pub fn page() -> String {
    let mut page = HEAD.to_owned();
    for key in keys::all() {
        section(&mut page, key);
    }
    page
}

fn section(page: &mut String, key: &Key) {
    let description = key.description.split('\n').map(str::trim).collect::<Vec<_>>().join("\n");
    let default = key.default.as_ref().map_or_else(|| "none".to_owned(), |default| format!("`{default}`"));
    // Writing to a string cannot fail.
    let _ = write!(page, "\n### `{}`\n\n{description}\n\n", key.path);
    let _ = writeln!(page, "- Value: {}\n- Default: {default}\n- Variable: `{}`", key.kind, key.variable());
}
