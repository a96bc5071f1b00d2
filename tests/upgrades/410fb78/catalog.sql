BEGIN TRANSACTION;
CREATE TABLE account (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL COLLATE NOCASE UNIQUE,
    full_name TEXT NOT NULL DEFAULT '',
    email TEXT NOT NULL DEFAULT '',
    password TEXT NOT NULL, -- Argon2id
    disabled INTEGER NOT NULL DEFAULT 0,
    ssh_keys TEXT NOT NULL DEFAULT '',
    created_at TEXT NOT NULL,
    signed_in_at TEXT
, org_unit_id INTEGER NOT NULL DEFAULT 1 REFERENCES org_unit (id), directory_id TEXT, dn TEXT NOT NULL DEFAULT '', directory_off INTEGER NOT NULL DEFAULT 0);
INSERT INTO "account" VALUES(1,'grace','Grace Hopper','grace@example.org','$argon2id$v=19$m=65536,t=3,p=4$N/Qv2N352h4mt4TrwHzuAQ$eYXtJg3QUD5AzFnz9FjJ7zzzLRF6V8UesrvZYhmWtLU',0,'','2026-11-29T18:24:14.313286+00:00',NULL,1,NULL,'',0);
INSERT INTO "account" VALUES(2,'ada','Ada Lovelace','ada@example.org','$argon2id$v=19$m=65536,t=3,p=4$N/Qv2N352h4mt4TrwHzuAQ$eYXtJg3QUD5AzFnz9FjJ7zzzLRF6V8UesrvZYhmWtLU',0,'','2026-11-29T18:24:14.314191+00:00',NULL,1,NULL,'',0);
INSERT INTO "account" VALUES(3,'alan','Alan Turing','alan@example.org','$argon2id$v=19$m=65536,t=3,p=4$N/Qv2N352h4mt4TrwHzuAQ$eYXtJg3QUD5AzFnz9FjJ7zzzLRF6V8UesrvZYhmWtLU',0,'','2026-11-29T18:24:14.314368+00:00',NULL,1,NULL,'',0);
INSERT INTO "account" VALUES(4,'mary','Mary Somerville','mary@example.org','$argon2id$v=19$m=65536,t=3,p=4$N/Qv2N352h4mt4TrwHzuAQ$eYXtJg3QUD5AzFnz9FjJ7zzzLRF6V8UesrvZYhmWtLU',0,'','2026-11-29T18:24:14.314506+00:00',NULL,1,NULL,'',0);
CREATE TABLE backup (
    path TEXT NOT NULL PRIMARY KEY,
    disk TEXT NOT NULL,
    disk_name TEXT NOT NULL,
    machine_name TEXT NOT NULL,
    class_name TEXT NOT NULL,
    account_name TEXT NOT NULL,
    size INTEGER NOT NULL,  -- GiB
    bytes INTEGER NOT NULL,
    taken_at TEXT NOT NULL,
    problem TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;
CREATE TABLE class (
    name TEXT NOT NULL PRIMARY KEY,
    spec TEXT NOT NULL, -- the class as scenario.yml has it, JSON
    minimum INTEGER NOT NULL,
    maximum INTEGER NOT NULL,
    buffer INTEGER NOT NULL,
    lease_minutes INTEGER NOT NULL,
    extend_minutes INTEGER NOT NULL,
    extensions INTEGER NOT NULL,
    per_person INTEGER NOT NULL,
    enabled INTEGER NOT NULL DEFAULT 1,
    failures INTEGER NOT NULL DEFAULT 0, -- machines of this class that failed to come up, in a row
    failing_until TEXT,                  -- no refill before
    problem TEXT NOT NULL DEFAULT '',    -- why the last one failed
    limit_reason TEXT NOT NULL DEFAULT '', -- what holds the pools below their policy, in words
    updated_at TEXT NOT NULL
, fork INTEGER NOT NULL DEFAULT 1, readiness TEXT NOT NULL DEFAULT 'paused', forked INTEGER NOT NULL DEFAULT 0, fork_failed INTEGER NOT NULL DEFAULT 0, fork_failures INTEGER NOT NULL DEFAULT 0, fork_problem TEXT NOT NULL DEFAULT '', short_of_memory INTEGER NOT NULL DEFAULT 0, sequence TEXT NOT NULL DEFAULT '', at_once INTEGER NOT NULL DEFAULT 1, together_minutes INTEGER NOT NULL DEFAULT 60, idle_minutes INTEGER NOT NULL DEFAULT 0, idle_grace INTEGER NOT NULL DEFAULT 15, idle_then TEXT NOT NULL DEFAULT 'reclaim', connect_minutes INTEGER NOT NULL DEFAULT 0, data_disk INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
INSERT INTO "class" VALUES('notebook','{"title":"Notebook","description":"JupyterLab with Python, NumPy and pandas, on a machine of your own.","kind":"desktop","os":"debian-13","packages":["git","less"],"roles":["jupyterlab"],"user":"user","size":{"vcpus":2,"memory":1024,"disk":8,"data":0},"application":{"port":8888,"path":"/lab","ready":"/api"},"zone":"inside","policy":{"minimum":0,"maximum":10,"buffer":1},"lease":{"minutes":480,"extend":240,"extensions":3,"idle":{"minutes":0,"warning":15,"then":"reclaim"},"connect":0},"fork":true,"readiness":"paused","per_person":1,"at_once":1,"together":60,"sequence":"","boot_timeout":300}',0,24,5,480,240,3,2,1,0,NULL,'','','2026-11-29T18:24:14.407980+00:00',1,'paused',0,0,0,'',0,'',1,60,0,15,'reclaim',0,0);
INSERT INTO "class" VALUES('studio','{"title":"Statistics studio","description":"R and its studio, with room for larger data.","kind":"desktop","os":"debian-12","packages":[],"roles":[],"user":"user","size":{"vcpus":4,"memory":4096,"disk":16,"data":0},"application":{"port":8787,"path":"/","ready":"/"},"zone":"inside","policy":{"minimum":0,"maximum":10,"buffer":1},"lease":{"minutes":1440,"extend":720,"extensions":5,"idle":{"minutes":0,"warning":15,"then":"reclaim"},"connect":0},"fork":true,"readiness":"paused","per_person":1,"at_once":1,"together":60,"sequence":"","boot_timeout":300}',0,6,1,1440,720,5,1,1,0,NULL,'','','2026-11-29T18:24:14.419765+00:00',0,'cold',0,0,0,'',0,'asking',1,60,45,15,'suspend',0,0);
CREATE TABLE data_disk (
    id TEXT NOT NULL PRIMARY KEY, -- a UUID; its file is named after it
    account_id INTEGER REFERENCES account (id) ON DELETE SET NULL,
    class_name TEXT NOT NULL REFERENCES class (name),
    name TEXT NOT NULL,
    size INTEGER NOT NULL, -- GiB
    machine_id TEXT REFERENCES machine (id), -- the machine that has it
    state TEXT NOT NULL, -- new (its file is yet to be made), ready, restoring, troubled, removing
    problem TEXT NOT NULL DEFAULT '',
    backup_asked INTEGER NOT NULL DEFAULT 0, -- somebody wants a copy now
    backup_at TEXT,                          -- the last copy
    backup_problem TEXT NOT NULL DEFAULT '',
    created_at TEXT NOT NULL,
    last_used_at TEXT
) WITHOUT ROWID;
INSERT INTO "data_disk" VALUES('dddddddd-0000-4000-8000-000000000001',2,'notebook','notes',2,NULL,'new','',0,NULL,'','2026-11-29T18:24:14.438641+00:00',NULL);
CREATE TABLE directory_run (
    id INTEGER PRIMARY KEY,
    state TEXT NOT NULL, -- queued, running, done, failed
    asked_by TEXT NOT NULL DEFAULT '', -- empty: it was time
    force INTEGER NOT NULL DEFAULT 0,  -- even when more than half of all people have to go
    step TEXT NOT NULL DEFAULT '',     -- where it stands, in words
    problem TEXT NOT NULL DEFAULT '',  -- why it failed, in words
    hint TEXT NOT NULL DEFAULT '',
    counts TEXT NOT NULL DEFAULT '{}',   -- what was there and what changed, JSON
    problems TEXT NOT NULL DEFAULT '[]', -- what in the directory could not be used, in words, JSON
    created_at TEXT NOT NULL,
    started_at TEXT,
    ended_at TEXT
);
CREATE TABLE engine (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    seen_at TEXT NOT NULL,
    hypervisor_ok INTEGER NOT NULL,
    hypervisor_problem TEXT NOT NULL,
    host TEXT NOT NULL -- JSON
);
INSERT INTO "engine" VALUES(1,'2026-11-29T18:24:14.333035+00:00',1,'','{"acceleration":"kvm","reason":"A test machine ran in 42 ms.","hypervisor":"QEMU 10.0.2, libvirt 11.3.0","cpus":16,"memory":65536,"memory_available":38400,"disk_free":412000,"disk":960000,"swap":0,"swap_used":0,"cpu_percent":23.4}');
CREATE TABLE event (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,
    kind TEXT NOT NULL,
    level TEXT NOT NULL DEFAULT 'info', -- info, warning, error
    message TEXT NOT NULL,
    actor TEXT NOT NULL DEFAULT '',
    address TEXT NOT NULL DEFAULT '',
    account_id INTEGER,
    class_name TEXT,
    machine_id TEXT,
    seed_id INTEGER,
    data TEXT NOT NULL DEFAULT '{}' -- JSON
, object TEXT NOT NULL DEFAULT '', hash TEXT NOT NULL DEFAULT '');
INSERT INTO "event" VALUES(1,'2026-11-29T18:24:14.321639+00:00','machine.creating','info','notebook-1 is being made.','engine','',NULL,'notebook','a89b42ae-17e0-4b7d-a35e-c544823f215c',NULL,'{}','machine:a89b42ae-17e0-4b7d-a35e-c544823f215c','220504837d454a97ea745ff738bdf676d02e50623d6ece07fb639a5e75019a12');
INSERT INTO "event" VALUES(2,'2026-11-29T18:24:14.322955+00:00','machine.creating','info','notebook-2 is being made.','engine','',NULL,'notebook','6abb76ae-bd41-43f0-a61a-48aead25774b',NULL,'{}','machine:6abb76ae-bd41-43f0-a61a-48aead25774b','dda26eac9cfd022bd5402ec1509380e4a4e2425c5db53c27078f12573cabc1ab');
INSERT INTO "event" VALUES(3,'2026-11-29T18:24:14.324138+00:00','machine.creating','info','notebook-3 is being made.','engine','',NULL,'notebook','98eed748-6bcd-434d-a716-b10dd0c564d7',NULL,'{}','machine:98eed748-6bcd-434d-a716-b10dd0c564d7','7b59c0b62c48e6b20e28f084c37da8fd57949f54745129bab2751f3dbf45ef74');
INSERT INTO "event" VALUES(4,'2026-11-29T18:24:14.325229+00:00','machine.creating','info','notebook-4 is being made.','engine','',NULL,'notebook','e9790c65-afaf-41c4-96ec-3f90b313c430',NULL,'{}','machine:e9790c65-afaf-41c4-96ec-3f90b313c430','d743de13a0c79fe0f5bb41493e584617264f962842fb244bd87bea9ae65a0889');
INSERT INTO "event" VALUES(5,'2026-11-29T18:24:14.326132+00:00','machine.creating','info','notebook-5 is being made.','engine','',NULL,'notebook','bcb50b04-b07d-4204-b1b5-75ef36a95e89',NULL,'{}','machine:bcb50b04-b07d-4204-b1b5-75ef36a95e89','17e50edd8135495622b8645a56d37af558a629ac0818d0ecf8ea1ae804e33aeb');
INSERT INTO "event" VALUES(6,'2026-11-29T18:24:14.326321+00:00','machine.assigned','info','ada got notebook-5 at once.','ada','127.0.0.1',2,'notebook','bcb50b04-b07d-4204-b1b5-75ef36a95e89',NULL,'{"hit":true}','machine:bcb50b04-b07d-4204-b1b5-75ef36a95e89','e10ee4528bc1eee07faef6ec03ab3896c77722ea952036a911d0792593e7131f');
INSERT INTO "event" VALUES(7,'2026-11-29T18:24:14.327421+00:00','machine.creating','info','notebook-6 is being made.','engine','',NULL,'notebook','fe2e1337-9d1d-4210-a2b5-2cf7ba2c1894',NULL,'{}','machine:fe2e1337-9d1d-4210-a2b5-2cf7ba2c1894','3f34f0f6367edc1891a946d84259491bd17efacbe17d6b8ab9d4580cceb41281');
INSERT INTO "event" VALUES(8,'2026-11-29T18:24:14.327560+00:00','machine.assigned','info','alan got notebook-6 at once.','alan','127.0.0.1',3,'notebook','fe2e1337-9d1d-4210-a2b5-2cf7ba2c1894',NULL,'{"hit":true}','machine:fe2e1337-9d1d-4210-a2b5-2cf7ba2c1894','86843f8d80c6bbaafb3f0af90b8ea753dc7084b1e6e32e83c849c0ca8b75111f');
INSERT INTO "event" VALUES(9,'2026-11-29T18:24:14.328544+00:00','machine.creating','info','notebook-7 is being made.','engine','',NULL,'notebook','84c5ce93-d1a2-4033-a121-a7afe4cd2c7c',NULL,'{}','machine:84c5ce93-d1a2-4033-a121-a7afe4cd2c7c','1fa226ff1a6b37692264001d3e2fd76fee3521339f46aea2f4ede98eeabb6d00');
INSERT INTO "event" VALUES(10,'2026-11-29T18:24:14.328670+00:00','machine.assigned','info','mary got notebook-7 at once.','mary','127.0.0.1',4,'notebook','84c5ce93-d1a2-4033-a121-a7afe4cd2c7c',NULL,'{"hit":true}','machine:84c5ce93-d1a2-4033-a121-a7afe4cd2c7c','23d425df8559a6b0b411e510da68b8d6b48f3019d92a4759b651f172edba2b64');
INSERT INTO "event" VALUES(11,'2026-11-29T18:24:14.329701+00:00','machine.creating','info','notebook-8 is being made.','engine','',NULL,'notebook','36065c87-c47e-46c7-85bd-26af8a4a8c39',NULL,'{}','machine:36065c87-c47e-46c7-85bd-26af8a4a8c39','f08e76cc85abaa72c498242ee737afaee87f2f3401629bc67a51d874df55c9fb');
INSERT INTO "event" VALUES(12,'2026-11-29T18:24:14.330622+00:00','machine.creating','info','studio-9 is being made.','engine','',NULL,'studio','9de7886d-6dc8-49fc-8e56-aebb78d53985',NULL,'{}','machine:9de7886d-6dc8-49fc-8e56-aebb78d53985','2992c60f4738f4de6da38a09c2918d44a8ac63beab41c7095ad9da87ed9ef1ba');
INSERT INTO "event" VALUES(13,'2026-11-29T18:24:14.331596+00:00','machine.creating','info','studio-10 is being made.','engine','',NULL,'studio','ae9c536a-3036-475c-b6a9-e70b22e0ef7a',NULL,'{}','machine:ae9c536a-3036-475c-b6a9-e70b22e0ef7a','c40cc1fc4141d599f31f796dc5916d36acfd6cbb2c03fda0f5ea7daab48201b7');
INSERT INTO "event" VALUES(14,'2026-11-29T18:24:14.331735+00:00','machine.assigned','info','mary got studio-10 at once.','mary','127.0.0.1',4,'studio','ae9c536a-3036-475c-b6a9-e70b22e0ef7a',NULL,'{"hit":true}','machine:ae9c536a-3036-475c-b6a9-e70b22e0ef7a','a3b266812fdf38d4115f89a3a5fef1d419aec4cf11141777c1e92748b8cef2b8');
INSERT INTO "event" VALUES(15,'2026-11-29T18:24:14.332310+00:00','request.waiting','info','alan waits for a studio: none is ready.','alan','127.0.0.1',3,'studio',NULL,NULL,'{"hit":false}','class:studio','80d7443191a9439f0c881c9c64a0adf7a1f9df233af0423624e5a4f24e8b12a3');
INSERT INTO "event" VALUES(16,'2026-11-29T18:24:14.332349+00:00','seed.failed','error','Seed studio v2 failed: the package r-base-studio does not exist.','engine','',NULL,'studio',NULL,NULL,'{}','class:studio','fb187b30a47e50d7b807250bf9648dc03b134a12e1a7cf6bd196a68493552dba');
INSERT INTO "event" VALUES(17,'2026-11-29T18:24:14.332388+00:00','sign_in.failed','warning','Failed sign-in as ''root''.','root','192.0.2.7',NULL,NULL,NULL,NULL,'{}','','be4cc2dc00069fc3c826c3389832d06b6369a7c82f645d9cbca949d2a0c7eb2f');
INSERT INTO "event" VALUES(18,'2026-11-29T18:24:14.362170+00:00','request.pending','info','alan asks for a studio.','alan','127.0.0.1',3,'studio',NULL,NULL,'{"hit":false}','class:studio','8107117dae268635276bdef00221f4fec33766b10b470bbbede2b6122d63ad43');
INSERT INTO "event" VALUES(19,'2026-11-29T18:24:14.372786+00:00','todo.open','info','A manager says yes: approvers asked.','engine','',3,'studio',NULL,NULL,'{"run":1}','class:studio','138b741df0787ad2bf00be96d1b2192dbbd1e12118626467ca537ac0bbb65241');
INSERT INTO "event" VALUES(20,'2026-11-29T18:24:14.375716+00:00','todo.refused','info','A manager says yes: mary said no: All six licences are given out <until June>.','mary','127.0.0.1',4,'studio',NULL,NULL,'{"run":1}','todo:1','cb516a7d00054adb9d2e3745354e3b7b34b4912dce245806dbe8f0c4b06e09f7');
INSERT INTO "event" VALUES(21,'2026-11-29T18:24:14.380784+00:00','request.pending','info','ada asks for a studio.','ada','127.0.0.1',2,'studio',NULL,NULL,'{"hit":false}','class:studio','c2f128ca759a1e4803f3f97810d454beeff56636cb61ce51022d399d5a6487d9');
INSERT INTO "event" VALUES(22,'2026-11-29T18:24:14.383490+00:00','run.failed','warning','A manager says yes: mary said no: All six licences are given out <until June>.','engine','',3,'studio',NULL,NULL,'{"run":1,"hint":"Ask them, or your admin."}','class:studio','1cbf529acd7bb1b83ef76a46011a2df76004367eb48a649a2e0475cc38fdfea9');
INSERT INTO "event" VALUES(23,'2026-11-29T18:24:14.396030+00:00','todo.open','info','A manager says yes: approvers asked.','engine','',2,'studio',NULL,NULL,'{"run":2}','class:studio','e96df4ea6065a6481410c457cad0c504db6987c776817448939df6c7ea936233');
INSERT INTO "event" VALUES(24,'2026-11-29T18:24:14.399831+00:00','account.token','info','ada made the token script.','ada','127.0.0.1',2,NULL,NULL,NULL,'{"after":{"name":"script","scope":["machines","read"],"expires":"2027-09-25T18:24+00:00"}}','account:ada','da43cdd25599f62e20328089e74c4ba29195aec3a4c41fd72e45c9b9b30968a3');
INSERT INTO "event" VALUES(25,'2026-11-29T18:24:14.408310+00:00','class.policy','info','grace changed the policy of notebook.','grace','127.0.0.1',1,'notebook',NULL,NULL,'{"before":{"minimum":0,"maximum":24,"buffer":3,"lease_minutes":480,"extend_minutes":240,"extensions":3,"per_person":2},"after":{"minimum":0,"maximum":24,"buffer":5,"lease_minutes":480,"extend_minutes":240,"extensions":3,"per_person":2}}','class:notebook','f3ac703916b8359d152c6d33e98d3ad83bbcd0f4b452a78f64f6212ce28da0f4');
INSERT INTO "event" VALUES(26,'2026-11-29T18:24:14.417674+00:00','class.life','info','grace changed the life of machines of studio.','grace','127.0.0.1',1,'studio',NULL,NULL,'{"before":{"sequence":"asking","idle_then":"reclaim","data_disk":0,"at_once":1,"together_minutes":60,"idle_minutes":0,"idle_grace":15,"connect_minutes":0},"after":{"sequence":"asking","idle_then":"suspend","data_disk":0,"at_once":1,"together_minutes":60,"idle_minutes":45,"idle_grace":15,"connect_minutes":0}}','class:studio','d343ba9482da2fe06973a762a94494a9258fe5a1bcb48a819b2c3f3d14e8ce2d');
INSERT INTO "event" VALUES(27,'2026-11-29T18:24:14.419887+00:00','class.making','info','grace changed how machines of studio are made.','grace','127.0.0.1',1,'studio',NULL,NULL,'{"before":{"fork":true,"readiness":"paused"},"after":{"fork":false,"readiness":"cold"}}','class:studio','98860e0cb3777ff6592cc52fb8fc59527a38e8fd2abb34780907fc2f383aec86');
INSERT INTO "event" VALUES(28,'2026-11-29T18:24:14.424707+00:00','webhooks.secret','info','grace made a new secret for webhooks.','grace','127.0.0.1',1,NULL,NULL,NULL,'{}','','e2a912c7b1ae0d1778f9a94bf7c98ef0511acb81bcbacc432d5626146235ce85');
INSERT INTO "event" VALUES(29,'2026-11-29T18:24:14.431087+00:00','mail.changed','info','grace decided: mail is sent over mail.example.org port 587.','grace','127.0.0.1',1,NULL,NULL,NULL,'{"before":{},"after":{"host":"mail.example.org","port":587,"security":"starttls","authority":"","user":"dpe","sender":"dpe@example.org"}}','','886191f47a883131feba887139ec534c092f380e6cc0697b9c5c854fc25d9f40');
CREATE TABLE host_reading (
    at TEXT NOT NULL PRIMARY KEY,
    cpu REAL NOT NULL,                -- share of its processors, 0 to 1
    memory INTEGER NOT NULL,
    memory_available INTEGER NOT NULL,
    machines_private INTEGER NOT NULL, -- of all machines together
    machines_shared INTEGER NOT NULL,
    machines_nominal INTEGER NOT NULL, -- what running and paused machines may grow to
    machines_limit INTEGER NOT NULL    -- how much of that people might hold at most
) WITHOUT ROWID;
INSERT INTO "host_reading" VALUES('2026-11-29T16:25:00.000000+00:00',0.1,65536,58200,3840,900,31200,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T16:26:00.000000+00:00',0.1,65536,57660,3840,900,31200,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T16:27:00.000000+00:00',0.1,65536,57750,3840,900,31200,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T16:28:00.000000+00:00',0.1,65536,57840,3840,900,31200,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T16:29:00.000000+00:00',0.1,65536,57930,3840,900,31200,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T16:30:00.000000+00:00',0.1,65536,58020,3840,900,31200,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T16:31:00.000000+00:00',0.1,65536,58110,3840,900,31200,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T16:32:00.000000+00:00',0.1,65536,58200,3840,900,31200,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T16:33:00.000000+00:00',0.125,65536,55760,5590,900,33800,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T16:34:00.000000+00:00',0.125,65536,55850,5590,900,33800,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T16:35:00.000000+00:00',0.125,65536,55940,5590,900,33800,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T16:36:00.000000+00:00',0.125,65536,56030,5590,900,33800,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T16:37:00.000000+00:00',0.125,65536,56120,5590,900,33800,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T16:38:00.000000+00:00',0.125,65536,56210,5590,900,33800,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T16:39:00.000000+00:00',0.125,65536,56300,5590,900,33800,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T16:40:00.000000+00:00',0.125,65536,55760,5590,900,33800,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T16:41:00.000000+00:00',0.125,65536,55850,5590,900,33800,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T16:42:00.000000+00:00',0.125,65536,55940,5590,900,33800,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T16:43:00.000000+00:00',0.125,65536,56030,5590,900,33800,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T16:44:00.000000+00:00',0.125,65536,56120,5590,900,33800,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T16:45:00.000000+00:00',0.125,65536,56210,5590,900,33800,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T16:46:00.000000+00:00',0.125,65536,56300,5590,900,33800,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T16:47:00.000000+00:00',0.125,65536,55760,5590,900,33800,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T16:48:00.000000+00:00',0.125,65536,55850,5590,900,33800,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T16:49:00.000000+00:00',1.50000000000000022204e-01,65536,54040,7340,900,36400,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T16:50:00.000000+00:00',1.50000000000000022204e-01,65536,54130,7340,900,36400,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T16:51:00.000000+00:00',1.50000000000000022204e-01,65536,54220,7340,900,36400,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T16:52:00.000000+00:00',1.50000000000000022204e-01,65536,54310,7340,900,36400,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T16:53:00.000000+00:00',1.50000000000000022204e-01,65536,54400,7340,900,36400,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T16:54:00.000000+00:00',1.50000000000000022204e-01,65536,53860,7340,900,36400,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T16:55:00.000000+00:00',1.50000000000000022204e-01,65536,53950,7340,900,36400,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T16:56:00.000000+00:00',1.50000000000000022204e-01,65536,54040,7340,900,36400,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T16:57:00.000000+00:00',1.50000000000000022204e-01,65536,54130,7340,900,36400,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T16:58:00.000000+00:00',1.50000000000000022204e-01,65536,54220,7340,900,36400,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T16:59:00.000000+00:00',1.50000000000000022204e-01,65536,54310,7340,900,36400,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T17:00:00.000000+00:00',1.50000000000000022204e-01,65536,54400,7340,900,36400,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T17:01:00.000000+00:00',1.50000000000000022204e-01,65536,53860,7340,900,36400,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T17:02:00.000000+00:00',1.50000000000000022204e-01,65536,53950,7340,900,36400,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T17:03:00.000000+00:00',1.50000000000000022204e-01,65536,54040,7340,900,36400,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T17:04:00.000000+00:00',1.50000000000000022204e-01,65536,54130,7340,900,36400,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T17:05:00.000000+00:00',1.50000000000000022204e-01,65536,54220,7340,900,36400,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T17:06:00.000000+00:00',0.175,65536,52410,9090,900,39000,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T17:07:00.000000+00:00',0.175,65536,52500,9090,900,39000,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T17:08:00.000000+00:00',0.175,65536,51960,9090,900,39000,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T17:09:00.000000+00:00',0.175,65536,52050,9090,900,39000,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T17:10:00.000000+00:00',0.175,65536,52140,9090,900,39000,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T17:11:00.000000+00:00',0.175,65536,52230,9090,900,39000,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T17:12:00.000000+00:00',0.175,65536,52320,9090,900,39000,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T17:13:00.000000+00:00',0.175,65536,52410,9090,900,39000,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T17:14:00.000000+00:00',0.175,65536,52500,9090,900,39000,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T17:15:00.000000+00:00',0.175,65536,51960,9090,900,39000,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T17:16:00.000000+00:00',0.175,65536,52050,9090,900,39000,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T17:17:00.000000+00:00',0.175,65536,52140,9090,900,39000,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T17:18:00.000000+00:00',0.175,65536,52230,9090,900,39000,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T17:19:00.000000+00:00',0.175,65536,52320,9090,900,39000,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T17:20:00.000000+00:00',0.175,65536,52410,9090,900,39000,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T17:21:00.000000+00:00',0.175,65536,52500,9090,900,39000,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T17:22:00.000000+00:00',0.175,65536,51960,9090,900,39000,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T17:23:00.000000+00:00',0.2,65536,50150,10840,900,41600,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T17:24:00.000000+00:00',0.2,65536,50240,10840,900,41600,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T17:25:00.000000+00:00',0.2,65536,50330,10840,900,41600,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T17:26:00.000000+00:00',0.2,65536,50420,10840,900,41600,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T17:27:00.000000+00:00',0.2,65536,50510,10840,900,41600,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T17:28:00.000000+00:00',0.2,65536,50600,10840,900,41600,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T17:29:00.000000+00:00',0.2,65536,50060,10840,900,41600,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T17:30:00.000000+00:00',0.2,65536,50150,10840,900,41600,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T17:31:00.000000+00:00',0.2,65536,50240,10840,900,41600,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T17:32:00.000000+00:00',0.2,65536,50330,10840,900,41600,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T17:33:00.000000+00:00',0.2,65536,50420,10840,900,41600,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T17:34:00.000000+00:00',0.2,65536,50510,10840,900,41600,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T17:35:00.000000+00:00',0.2,65536,50600,10840,900,41600,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T17:36:00.000000+00:00',0.2,65536,50060,10840,900,41600,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T17:37:00.000000+00:00',0.2,65536,50150,10840,900,41600,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T17:38:00.000000+00:00',0.2,65536,50240,10840,900,41600,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T17:39:00.000000+00:00',0.2,65536,50330,10840,900,41600,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T17:40:00.000000+00:00',2.24999999999999977795e-01,65536,48520,12590,900,44200,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T17:41:00.000000+00:00',2.24999999999999977795e-01,65536,48610,12590,900,44200,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T17:42:00.000000+00:00',2.24999999999999977795e-01,65536,48700,12590,900,44200,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T17:43:00.000000+00:00',2.24999999999999977795e-01,65536,48160,12590,900,44200,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T17:44:00.000000+00:00',2.24999999999999977795e-01,65536,48250,12590,900,44200,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T17:45:00.000000+00:00',2.24999999999999977795e-01,65536,48340,12590,900,44200,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T17:46:00.000000+00:00',2.24999999999999977795e-01,65536,48430,12590,900,44200,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T17:47:00.000000+00:00',2.24999999999999977795e-01,65536,48520,12590,900,44200,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T17:48:00.000000+00:00',2.24999999999999977795e-01,65536,48610,12590,900,44200,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T17:49:00.000000+00:00',2.24999999999999977795e-01,65536,48700,12590,900,44200,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T17:50:00.000000+00:00',2.24999999999999977795e-01,65536,48160,12590,900,44200,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T17:51:00.000000+00:00',2.24999999999999977795e-01,65536,48250,12590,900,44200,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T17:52:00.000000+00:00',2.24999999999999977795e-01,65536,48340,12590,900,44200,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T17:53:00.000000+00:00',2.24999999999999977795e-01,65536,48430,12590,900,44200,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T17:54:00.000000+00:00',2.24999999999999977795e-01,65536,48520,12590,900,44200,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T17:55:00.000000+00:00',2.24999999999999977795e-01,65536,48610,12590,900,44200,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T17:56:00.000000+00:00',2.24999999999999977795e-01,65536,48700,12590,900,44200,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T17:57:00.000000+00:00',0.25,65536,46260,14340,900,46800,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T17:58:00.000000+00:00',0.25,65536,46350,14340,900,46800,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T17:59:00.000000+00:00',0.25,65536,46440,14340,900,46800,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T18:00:00.000000+00:00',0.25,65536,46530,14340,900,46800,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T18:01:00.000000+00:00',0.25,65536,46620,14340,900,46800,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T18:02:00.000000+00:00',0.25,65536,46710,14340,900,46800,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T18:03:00.000000+00:00',0.25,65536,46800,14340,900,46800,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T18:04:00.000000+00:00',0.25,65536,46260,14340,900,46800,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T18:05:00.000000+00:00',0.25,65536,46350,14340,900,46800,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T18:06:00.000000+00:00',0.25,65536,46440,14340,900,46800,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T18:07:00.000000+00:00',0.25,65536,46530,14340,900,46800,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T18:08:00.000000+00:00',0.25,65536,46620,14340,900,46800,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T18:09:00.000000+00:00',0.25,65536,46710,14340,900,46800,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T18:10:00.000000+00:00',0.25,65536,46800,14340,900,46800,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T18:11:00.000000+00:00',0.25,65536,46260,14340,900,46800,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T18:12:00.000000+00:00',0.25,65536,46350,14340,900,46800,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T18:13:00.000000+00:00',0.25,65536,46440,14340,900,46800,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T18:14:00.000000+00:00',0.25,65536,46530,14340,900,46800,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T18:15:00.000000+00:00',0.25,65536,46620,14340,900,46800,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T18:16:00.000000+00:00',0.275,65536,44810,16090,900,49400,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T18:17:00.000000+00:00',0.275,65536,44900,16090,900,49400,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T18:18:00.000000+00:00',0.275,65536,44360,16090,900,49400,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T18:19:00.000000+00:00',0.275,65536,44450,16090,900,49400,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T18:20:00.000000+00:00',0.275,65536,44540,16090,900,49400,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T18:21:00.000000+00:00',0.275,65536,44630,16090,900,49400,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T18:22:00.000000+00:00',0.275,65536,44720,16090,900,49400,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T18:23:00.000000+00:00',0.275,65536,44810,16090,900,49400,64512);
INSERT INTO "host_reading" VALUES('2026-11-29T18:24:00.000000+00:00',0.275,65536,44900,16090,900,49400,64512);
CREATE TABLE kept_disk (
    id TEXT NOT NULL PRIMARY KEY, -- the id of the machine whose disk it was
    machine_name TEXT NOT NULL,
    account_id INTEGER REFERENCES account (id) ON DELETE SET NULL,
    class_name TEXT NOT NULL REFERENCES class (name),
    seed_id INTEGER NOT NULL REFERENCES seed (id),
    data_id TEXT,            -- the data disk that the machine had
    size INTEGER NOT NULL,   -- GiB
    bytes INTEGER NOT NULL,  -- on the host
    state TEXT NOT NULL,     -- kept, returning, removing
    machine_id TEXT REFERENCES machine (id), -- the machine as which it comes back
    until TEXT NOT NULL,
    created_at TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE lease (
    id INTEGER PRIMARY KEY,
    machine_id TEXT NOT NULL REFERENCES machine (id),
    account_id INTEGER NOT NULL REFERENCES account (id),
    began_at TEXT NOT NULL,
    ends_at TEXT NOT NULL,
    extensions INTEGER NOT NULL DEFAULT 0,
    warned_at TEXT,
    opened_at TEXT, -- first time its application was opened
    ended_at TEXT,
    end_reason TEXT NOT NULL DEFAULT ''
, busy_at TEXT, idle_warned_at TEXT);
INSERT INTO "lease" VALUES(1,'bcb50b04-b07d-4204-b1b5-75ef36a95e89',2,'2026-11-29T18:06:14.326171+00:00','2026-11-30T02:06:14.326171+00:00',0,NULL,NULL,NULL,'',NULL,NULL);
INSERT INTO "lease" VALUES(2,'fe2e1337-9d1d-4210-a2b5-2cf7ba2c1894',3,'2026-11-29T10:41:14.327460+00:00','2026-11-29T18:41:14.327460+00:00',0,NULL,NULL,NULL,'',NULL,NULL);
INSERT INTO "lease" VALUES(3,'84c5ce93-d1a2-4033-a121-a7afe4cd2c7c',4,'2026-11-29T12:24:14.328578+00:00','2026-11-29T20:24:14.328578+00:00',0,NULL,NULL,NULL,'',NULL,NULL);
INSERT INTO "lease" VALUES(4,'ae9c536a-3036-475c-b6a9-e70b22e0ef7a',4,'2026-11-29T14:24:14.331634+00:00','2026-11-30T14:24:14.331634+00:00',0,NULL,NULL,NULL,'',NULL,NULL);
CREATE TABLE machine (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE, -- UUID; the domain's as well
    name TEXT NOT NULL UNIQUE,
    class_name TEXT NOT NULL REFERENCES class (name),
    seed_id INTEGER NOT NULL REFERENCES seed (id),
    slot INTEGER NOT NULL, -- address and front door port follow from it
    state TEXT NOT NULL,
    state_since TEXT NOT NULL,
    vcpus INTEGER NOT NULL,
    memory INTEGER NOT NULL, -- MiB
    disk INTEGER NOT NULL,   -- GiB
    owner_id INTEGER REFERENCES account (id),
    step TEXT NOT NULL DEFAULT '',    -- what is being done to it, in words
    problem TEXT NOT NULL DEFAULT '', -- what went wrong last, in words
    attempts INTEGER NOT NULL DEFAULT 0,
    retry_at TEXT,
    reclaim_reason TEXT NOT NULL DEFAULT '',
    created_at TEXT NOT NULL,
    ready_at TEXT,
    retired_at TEXT
, origin TEXT NOT NULL DEFAULT 'boot', readiness TEXT NOT NULL DEFAULT 'running', snapshot_id INTEGER REFERENCES snapshot (id), trial_id INTEGER REFERENCES sequence_version (id));
INSERT INTO "machine" VALUES(1,'a89b42ae-17e0-4b7d-a35e-c544823f215c','notebook-1','notebook',2,0,'ready','2026-11-29T17:46:34.321126+00:00',2,1024,8,NULL,'','',0,NULL,'','2026-11-29T17:44:14.321126+00:00','2026-11-29T17:44:14.701126+00:00',NULL,'fork','paused',NULL,NULL);
INSERT INTO "machine" VALUES(2,'6abb76ae-bd41-43f0-a61a-48aead25774b','notebook-2','notebook',2,1,'ready','2026-11-29T17:46:34.322626+00:00',2,1024,8,NULL,'','',0,NULL,'','2026-11-29T17:44:14.322626+00:00','2026-11-29T17:44:14.702626+00:00',NULL,'fork','paused',NULL,NULL);
INSERT INTO "machine" VALUES(3,'98eed748-6bcd-434d-a716-b10dd0c564d7','notebook-3','notebook',2,2,'ready','2026-11-29T17:46:34.323816+00:00',2,1024,8,NULL,'','',0,NULL,'','2026-11-29T17:44:14.323816+00:00','2026-11-29T17:44:14.703816+00:00',NULL,'fork','paused',NULL,NULL);
INSERT INTO "machine" VALUES(4,'e9790c65-afaf-41c4-96ec-3f90b313c430','notebook-4','notebook',2,3,'creating','2026-11-29T18:23:24.324865+00:00',2,1024,8,NULL,'waiting for the guest agent','',0,NULL,'','2026-11-29T18:23:24.324865+00:00',NULL,NULL,'boot','paused',NULL,NULL);
INSERT INTO "machine" VALUES(5,'bcb50b04-b07d-4204-b1b5-75ef36a95e89','notebook-5','notebook',2,4,'in_use','2026-11-29T17:46:34.325808+00:00',2,1024,8,2,'','',0,NULL,'','2026-11-29T17:44:14.325808+00:00','2026-11-29T17:46:34.325808+00:00',NULL,'boot','paused',NULL,NULL);
INSERT INTO "machine" VALUES(6,'fe2e1337-9d1d-4210-a2b5-2cf7ba2c1894','notebook-6','notebook',2,5,'in_use','2026-11-29T17:46:34.327022+00:00',2,1024,8,3,'','',0,NULL,'','2026-11-29T17:44:14.327022+00:00','2026-11-29T17:46:34.327022+00:00',NULL,'boot','paused',NULL,NULL);
INSERT INTO "machine" VALUES(7,'84c5ce93-d1a2-4033-a121-a7afe4cd2c7c','notebook-7','notebook',2,6,'in_use','2026-11-29T17:46:34.328225+00:00',2,1024,8,4,'','',0,NULL,'','2026-11-29T17:44:14.328225+00:00','2026-11-29T17:46:34.328225+00:00',NULL,'boot','paused',NULL,NULL);
INSERT INTO "machine" VALUES(8,'36065c87-c47e-46c7-85bd-26af8a4a8c39','notebook-8','notebook',2,7,'reclaiming','2026-11-29T17:46:34.329329+00:00',2,1024,8,NULL,'','',0,NULL,'released','2026-11-29T17:44:14.329329+00:00','2026-11-29T17:46:34.329329+00:00',NULL,'boot','paused',NULL,NULL);
INSERT INTO "machine" VALUES(9,'9de7886d-6dc8-49fc-8e56-aebb78d53985','studio-9','studio',4,8,'creating','2026-11-29T18:22:39.330295+00:00',4,4096,16,NULL,'booting','',0,NULL,'','2026-11-29T18:22:39.330295+00:00',NULL,NULL,'boot','paused',NULL,NULL);
INSERT INTO "machine" VALUES(10,'ae9c536a-3036-475c-b6a9-e70b22e0ef7a','studio-10','studio',4,9,'in_use','2026-11-29T17:46:34.331258+00:00',4,4096,16,4,'','',0,NULL,'','2026-11-29T17:44:14.331258+00:00','2026-11-29T17:46:34.331258+00:00',NULL,'boot','paused',NULL,NULL);
CREATE TABLE member (
    group_id INTEGER NOT NULL REFERENCES people_group (id) ON DELETE CASCADE,
    account_id INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    PRIMARY KEY (account_id, group_id)
) WITHOUT ROWID;
INSERT INTO "member" VALUES(1,4);
CREATE TABLE nesting ( -- the members of the inner group are members of the outer one
    outer_id INTEGER NOT NULL REFERENCES people_group (id) ON DELETE CASCADE,
    inner_id INTEGER NOT NULL REFERENCES people_group (id) ON DELETE CASCADE,
    PRIMARY KEY (inner_id, outer_id),
    CHECK (inner_id <> outer_id)
) WITHOUT ROWID;
CREATE TABLE option (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL -- JSON
) WITHOUT ROWID;
INSERT INTO "option" VALUES('mail','{"on":true,"server":{"host":"mail.example.org","port":587,"security":"starttls","authority":"","user":"dpe","sender":"dpe@example.org"},"password":"gAAAAABrDG3O7WzBWyFu77FHvnu7cLGm1GC7jIVJK3MQCu11eFvFL6oJcPp1MG_2KaR6HeGRVUF2oEVJ0-sZRDSZr4QRhO1sYDTXpB4fkCalnJ54XVFgUos="}');
INSERT INTO "option" VALUES('memory','{"limit":64512,"most":64512,"overhead":64}');
INSERT INTO "option" VALUES('setup_done','true');
INSERT INTO "option" VALUES('time_zone','"Europe/Berlin"');
INSERT INTO "option" VALUES('title','"Hillside School"');
INSERT INTO "option" VALUES('webhooks','{"authority":"","secret":"gAAAAABrDG3OGH7TwHqiMdGhjakvHnd8pcEw_zFIA5y4o-0cwX87qAPCTylSo2oj4c5yNxk-bTIIPRLjgHx1sanQ0dH9AKSg4ca2KaJNMVAuHuLI34DvieVeC_VjsXDlNjvtSaVl6SOpjyUH65ZFE9tASruXnL3fCQ==","since":"2026-11-29T18:24:14.424568+00:00"}');
CREATE TABLE org_unit (
    id INTEGER PRIMARY KEY,
    parent_id INTEGER REFERENCES org_unit (id), -- NULL for the one at the top
    name TEXT NOT NULL COLLATE NOCASE,
    directory_id TEXT UNIQUE,                   -- what the directory knows it by; NULL for a local one
    CHECK ((parent_id IS NULL) = (id = 1)),
    UNIQUE (parent_id, name)
);
INSERT INTO "org_unit" VALUES(1,NULL,'Everybody',NULL);
INSERT INTO "org_unit" VALUES(2,1,'Science',NULL);
INSERT INTO "org_unit" VALUES(3,2,'Mathematics',NULL);
INSERT INTO "org_unit" VALUES(4,1,'Workshop',NULL);
CREATE TABLE outgoing (
    id INTEGER PRIMARY KEY,
    about TEXT NOT NULL, -- what it tells of: of that, a person gets one
    account_id INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    subject TEXT NOT NULL,
    text TEXT NOT NULL,
    path TEXT NOT NULL,  -- the page that it leads to
    tries INTEGER NOT NULL DEFAULT 0,
    created_at TEXT NOT NULL,
    next_at TEXT NOT NULL,
    UNIQUE (about, account_id)
);
CREATE TABLE people_group ( -- "group" is a word of SQL's own
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL COLLATE NOCASE UNIQUE,
    about TEXT NOT NULL DEFAULT '',
    org_unit_id INTEGER NOT NULL DEFAULT 1 REFERENCES org_unit (id), -- whoever looks after the unit looks after the group
    directory_id TEXT UNIQUE
);
INSERT INTO "people_group" VALUES(1,'analysts','Those who look after the studio',2,NULL);
CREATE TABLE permit ( -- a grant; that is a word of SQL's own as well
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    role TEXT NOT NULL,
    -- who holds it: one of these
    account_id INTEGER REFERENCES account (id) ON DELETE CASCADE,
    group_id INTEGER REFERENCES people_group (id) ON DELETE CASCADE,
    org_unit_id INTEGER REFERENCES org_unit (id) ON DELETE CASCADE,
    -- over what: an org unit and all below it, or a class; neither means the appliance
    over_unit_id INTEGER REFERENCES org_unit (id) ON DELETE CASCADE,
    over_class TEXT REFERENCES class (name),
    starts_at TEXT,
    ends_at TEXT,
    given_by INTEGER REFERENCES account (id) ON DELETE SET NULL,
    created_at TEXT NOT NULL,
    CHECK ((account_id IS NOT NULL) + (group_id IS NOT NULL) + (org_unit_id IS NOT NULL) = 1),
    CHECK (over_unit_id IS NULL OR over_class IS NULL)
);
INSERT INTO "permit" VALUES(1,'user',NULL,NULL,1,NULL,NULL,NULL,NULL,NULL,'2026-11-29T18:24:14.102000+00:00');
INSERT INTO "permit" VALUES(2,'owner',1,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'2026-11-29T18:24:14.313911+00:00');
INSERT INTO "permit" VALUES(3,'class_manager',NULL,1,NULL,NULL,'studio',NULL,NULL,1,'2026-11-29T18:24:14.332787+00:00');
INSERT INTO "permit" VALUES(4,'approver',4,NULL,NULL,NULL,'studio',NULL,NULL,NULL,'2026-11-29T18:24:14.345319+00:00');
CREATE TABLE quota (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    -- whose: one of these
    account_id INTEGER REFERENCES account (id) ON DELETE CASCADE,
    group_id INTEGER REFERENCES people_group (id) ON DELETE CASCADE,
    org_unit_id INTEGER REFERENCES org_unit (id) ON DELETE CASCADE,
    each INTEGER NOT NULL,                      -- whether every person may have so much, or all of them together
    class_name TEXT REFERENCES class (name),    -- of this class only; NULL: of all classes together
    permit_id INTEGER REFERENCES permit (id) ON DELETE CASCADE, -- given together with a grant; lasts as long
    -- NULL means that it is not limited
    machines INTEGER,
    vcpus INTEGER,
    memory INTEGER,                             -- MiB
    disk INTEGER,                               -- GiB
    lease_minutes INTEGER,
    CHECK ((account_id IS NOT NULL) + (group_id IS NOT NULL) + (org_unit_id IS NOT NULL) = 1)
);
INSERT INTO "quota" VALUES(1,NULL,1,NULL,0,NULL,NULL,6,NULL,24576,NULL,NULL);
CREATE TABLE reading (
    machine_id TEXT NOT NULL PRIMARY KEY REFERENCES machine (id) ON DELETE CASCADE,
    at TEXT NOT NULL,
    cpu REAL NOT NULL,            -- share of its processors, 0 to 1
    memory_used INTEGER NOT NULL, -- MiB
    disk_rate REAL NOT NULL,      -- bytes a second, both ways
    net_rate REAL NOT NULL        -- bytes a second, both ways
, memory_private INTEGER NOT NULL DEFAULT 0, memory_shared INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
INSERT INTO "reading" VALUES('6abb76ae-bd41-43f0-a61a-48aead25774b','2026-11-29T18:24:14.323070+00:00',0.0,190,0.0,0.0,34,19);
INSERT INTO "reading" VALUES('84c5ce93-d1a2-4033-a121-a7afe4cd2c7c','2026-11-29T18:24:14.328698+00:00',0.18,412,81920.0,20480.0,388,21);
INSERT INTO "reading" VALUES('98eed748-6bcd-434d-a716-b10dd0c564d7','2026-11-29T18:24:14.324248+00:00',0.0,190,0.0,0.0,34,19);
INSERT INTO "reading" VALUES('a89b42ae-17e0-4b7d-a35e-c544823f215c','2026-11-29T18:24:14.321898+00:00',0.0,190,0.0,0.0,34,19);
INSERT INTO "reading" VALUES('ae9c536a-3036-475c-b6a9-e70b22e0ef7a','2026-11-29T18:24:14.331766+00:00',0.18,412,81920.0,20480.0,388,21);
INSERT INTO "reading" VALUES('bcb50b04-b07d-4204-b1b5-75ef36a95e89','2026-11-29T18:24:14.326358+00:00',0.18,412,81920.0,20480.0,388,21);
INSERT INTO "reading" VALUES('fe2e1337-9d1d-4210-a2b5-2cf7ba2c1894','2026-11-29T18:24:14.327593+00:00',0.18,412,81920.0,20480.0,388,21);
CREATE TABLE recovery_code (
    account_id INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    digest TEXT NOT NULL, -- SHA-256
    PRIMARY KEY (account_id, digest)
) WITHOUT ROWID;
CREATE TABLE request (
    id INTEGER PRIMARY KEY,
    account_id INTEGER NOT NULL REFERENCES account (id),
    class_name TEXT NOT NULL REFERENCES class (name),
    state TEXT NOT NULL, -- waiting, granted, cancelled
    hit INTEGER,         -- 1 when a ready machine was there at once
    machine_id TEXT REFERENCES machine (id),
    created_at TEXT NOT NULL,
    granted_at TEXT,
    ended_at TEXT
, trial_id INTEGER REFERENCES sequence_version (id), reason TEXT NOT NULL DEFAULT '', batch_id INTEGER REFERENCES request (id), dismissed INTEGER NOT NULL DEFAULT 0);
INSERT INTO "request" VALUES(1,3,'studio','cancelled',0,NULL,'2026-11-29T18:24:14.332152+00:00',NULL,'2026-11-29T18:24:14.344364+00:00',NULL,'',NULL,0);
INSERT INTO "request" VALUES(2,3,'studio','refused',0,NULL,'2026-11-29T18:24:14.348924+00:00',NULL,'2026-11-29T18:24:14.389347+00:00',NULL,'mary said no: All six licences are given out <until June>.',NULL,0);
INSERT INTO "request" VALUES(3,2,'studio','pending',0,NULL,'2026-11-29T18:24:14.380680+00:00',NULL,NULL,NULL,'',NULL,0);
CREATE TABLE run (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL, -- a move of the master workflow
    state TEXT NOT NULL, -- queued, running, waiting, undoing, done, failed, cancelled
    machine_id TEXT REFERENCES machine (id),
    request_id INTEGER REFERENCES request (id),
    class_name TEXT REFERENCES class (name),
    account_id INTEGER REFERENCES account (id) ON DELETE SET NULL, -- whose machine it is, or will be
    version_id INTEGER REFERENCES sequence_version (id), -- none: only what belongs to the move itself
    position INTEGER NOT NULL DEFAULT 0, -- number of the step it stands at
    turn INTEGER NOT NULL DEFAULT 0,     -- counts up whenever a step begins: what comes of an earlier beginning is not kept
    priority INTEGER NOT NULL DEFAULT 5, -- smaller goes first
    wake_at TEXT,                        -- goes on then; without it only when it is woken
    woken INTEGER NOT NULL DEFAULT 0,    -- whether something happened since its step began
    cancel INTEGER NOT NULL DEFAULT 0,
    why TEXT NOT NULL DEFAULT '',        -- what it waits for, in words
    problem TEXT NOT NULL DEFAULT '',
    hint TEXT NOT NULL DEFAULT '',
    facts TEXT NOT NULL DEFAULT '{}',    -- what conditions and steps go by, JSON
    asked_by TEXT NOT NULL DEFAULT '',
    created_at TEXT NOT NULL,
    started_at TEXT,
    ended_at TEXT
);
INSERT INTO "run" VALUES(1,'assign','failed',NULL,2,'studio',3,1,0,3,0,NULL,0,0,'','mary said no: All six licences are given out <until June>.','Ask them, or your admin.','{"class":"studio","lease_minutes":1440,"count":1,"vcpus":4,"memory":4096,"disk":16,"units":["Everybody"],"groups":[],"roles":["user"]}','alan','2026-11-29T18:24:14.362028+00:00','2026-11-29T18:24:14.365269+00:00','2026-11-29T18:24:14.388974+00:00');
INSERT INTO "run" VALUES(2,'assign','waiting',NULL,3,'studio',2,1,0,1,0,'2026-12-02T18:24:14.391368+00:00',0,0,'A manager says yes: approvers','','','{"class":"studio","lease_minutes":1440,"count":1,"vcpus":4,"memory":4096,"disk":16,"units":["Everybody"],"groups":[],"roles":["user"]}','ada','2026-11-29T18:24:14.380757+00:00','2026-11-29T18:24:14.391368+00:00',NULL);
CREATE TABLE second_factor (
    account_id INTEGER PRIMARY KEY REFERENCES account (id) ON DELETE CASCADE,
    secret TEXT NOT NULL,             -- base32
    step INTEGER NOT NULL DEFAULT 0,  -- the time step of the last code that was taken: none is taken twice
    confirmed_at TEXT                 -- since when it is asked for; until then it is only being set up
);
CREATE TABLE seed (
    id INTEGER PRIMARY KEY,
    class_name TEXT NOT NULL REFERENCES class (name),
    version INTEGER NOT NULL,
    state TEXT NOT NULL, -- queued, building, ready, failed, cancelled
    promoted INTEGER NOT NULL DEFAULT 0,
    cancel INTEGER NOT NULL DEFAULT 0, -- somebody asked to stop the build
    attempts INTEGER NOT NULL DEFAULT 0,
    task TEXT NOT NULL DEFAULT '',
    task_number INTEGER NOT NULL DEFAULT 0,
    task_total INTEGER NOT NULL DEFAULT 0,
    problem TEXT NOT NULL DEFAULT '',
    hint TEXT NOT NULL DEFAULT '',
    log TEXT NOT NULL DEFAULT '',
    files TEXT NOT NULL DEFAULT '{}', -- disk, kernel, initrd, cmdline: JSON
    manifest TEXT NOT NULL DEFAULT '{}', -- JSON
    created_at TEXT NOT NULL,
    started_at TEXT,
    ended_at TEXT,
    UNIQUE (class_name, version)
);
INSERT INTO "seed" VALUES(1,'notebook',1,'ready',0,0,0,'',0,0,'','','','{}','{"os":"debian-13","kernel":"6.12.48+deb13-amd64","seconds":192.4,"packages":{"base-files":"13.8","bash":"5.2.37-2","ca-certificates":"20250419","git":"1:2.47.3-0","less":"668-1","qemu-guest-agent":"1:10.0.2"}}','2026-11-29T10:24:14.316857+00:00','2026-11-29T10:24:14.316857+00:00','2026-11-29T10:27:26.316857+00:00');
INSERT INTO "seed" VALUES(2,'notebook',2,'ready',1,0,0,'',0,0,'','','','{}','{"os":"debian-13","kernel":"6.12.48+deb13-amd64","seconds":192.4,"packages":{"base-files":"13.8","bash":"5.2.37-2","ca-certificates":"20250419","git":"1:2.47.3-0","less":"668-1","qemu-guest-agent":"1:10.0.2"}}','2026-11-29T11:24:14.317508+00:00','2026-11-29T11:24:14.317508+00:00','2026-11-29T11:27:26.317508+00:00');
INSERT INTO "seed" VALUES(3,'notebook',3,'building',0,0,0,'jupyterlab : install the locked environment',12,31,'','','/tmp/gen-state/logs/seeds/notebook-3.log','{}','{}','2026-11-29T12:24:14.319032+00:00','2026-11-29T18:23:00.319029+00:00',NULL);
INSERT INTO "seed" VALUES(4,'studio',1,'ready',1,0,0,'',0,0,'','','','{}','{"os":"debian-13","kernel":"6.12.48+deb13-amd64","seconds":192.4,"packages":{"base-files":"13.8","bash":"5.2.37-2","ca-certificates":"20250419","git":"1:2.47.3-0","less":"668-1","qemu-guest-agent":"1:10.0.2"}}','2026-11-29T10:24:14.319528+00:00','2026-11-29T10:24:14.319528+00:00','2026-11-29T10:27:26.319528+00:00');
INSERT INTO "seed" VALUES(5,'studio',2,'failed',0,0,0,'',0,0,'The package r-base-studio does not exist in Debian 12.','Correct its name in scenario.yml.','','{}','{}','2026-11-29T11:24:14.320447+00:00','2026-11-29T11:24:14.320447+00:00','2026-11-29T11:27:26.320447+00:00');
CREATE TABLE sequence (
    name TEXT NOT NULL PRIMARY KEY,
    title TEXT NOT NULL,
    about TEXT NOT NULL DEFAULT '',
    shipped TEXT NOT NULL DEFAULT '' -- digest of the file it came with; empty for one that was made here
) WITHOUT ROWID;
INSERT INTO "sequence" VALUES('asking','Asking','','');
CREATE TABLE sequence_version (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    sequence_name TEXT NOT NULL REFERENCES sequence (name) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    state TEXT NOT NULL, -- draft, trial (a draft as it was when it was tried), promoted, kept
    body TEXT NOT NULL,  -- moves with their activities, JSON; changes only in a draft, which no run refers to
    comment TEXT NOT NULL DEFAULT '',
    author TEXT NOT NULL DEFAULT '',
    created_at TEXT NOT NULL,
    promoted_at TEXT,
    UNIQUE (sequence_name, number)
);
INSERT INTO "sequence_version" VALUES(1,'asking',1,'promoted','{"assign":{"after":[{"kind":"task","name":"welcome","title":"Show them round","with":{"text":"Call them."}}],"before":[{"kind":"approval","name":"manager","title":"A manager says yes","with":{"expires":"72h","text":"Is it for a course?\nThe studio is licensed for 6 people."}},{"kind":"task","name":"licence","title":"Register the licence","with":{"text":"Enter their name at the licence server."}},{"kind":"approval","name":"large","title":"The head of IT says yes","when":{"memory":{"above":99999}}}]}}','','grace','2026-11-29T18:24:14.345032+00:00','2026-11-29T18:24:14.345027+00:00');
CREATE TABLE session (
    id TEXT NOT NULL PRIMARY KEY, -- SHA-256 of the token in the cookie
    account_id INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    address TEXT NOT NULL DEFAULT '',
    agent TEXT NOT NULL DEFAULT '',
    created_at TEXT NOT NULL,
    seen_at TEXT NOT NULL,
    expires_at TEXT NOT NULL
, confirmed_at TEXT, waits INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE TABLE snapshot (
    id INTEGER PRIMARY KEY,
    seed_id INTEGER NOT NULL REFERENCES seed (id),
    state TEXT NOT NULL, -- building, ready, failed, stale (no longer fits its host, or damaged: forks no more machines)
    attempts INTEGER NOT NULL DEFAULT 0,
    retry_at TEXT,
    step TEXT NOT NULL DEFAULT '',    -- where the taking of it stands, in words
    problem TEXT NOT NULL DEFAULT '', -- why it failed or is stale, in words
    hint TEXT NOT NULL DEFAULT '',
    folder TEXT NOT NULL DEFAULT '',
    facts TEXT NOT NULL DEFAULT '{}', -- what it depends on and how large it is, JSON
    created_at TEXT NOT NULL,
    ended_at TEXT
);
INSERT INTO "snapshot" VALUES(1,2,'stale',0,NULL,'','The snapshot no longer fits this host: hypervisor was QEMU 10.0.1, and is QEMU 10.0.2.','','','{"hypervisor":"QEMU 10.0.2","acceleration":"kvm","machine":"pc-q35-10.0","cpu":"host","memory":1024,"domain":"5d41402abc4b2a76b9719d911017c592","size":412}','2026-11-29T18:04:14.318182+00:00','2026-11-29T18:04:14.318182+00:00');
INSERT INTO "snapshot" VALUES(2,2,'ready',0,NULL,'','','','/seeds/notebook/2/snapshot','{"hypervisor":"QEMU 10.0.2","acceleration":"kvm","machine":"pc-q35-10.0","cpu":"host","memory":1024,"domain":"5d41402abc4b2a76b9719d911017c592","size":412}','2026-11-29T18:04:14.318676+00:00','2026-11-29T18:04:45.318676+00:00');
INSERT INTO "snapshot" VALUES(3,4,'ready',0,NULL,'','','','/seeds/studio/1/snapshot','{"hypervisor":"QEMU 10.0.2","acceleration":"kvm","machine":"pc-q35-10.0","cpu":"host","memory":1024,"domain":"5d41402abc4b2a76b9719d911017c592","size":412}','2026-11-29T18:04:14.320121+00:00','2026-11-29T18:04:45.320121+00:00');
CREATE TABLE step (
    run_id INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    title TEXT NOT NULL,
    state TEXT NOT NULL, -- running, waiting, done, failed, cancelled, undoing, undone; one that was skipped has no row
    starts INTEGER NOT NULL DEFAULT 0,   -- times it was begun since it last waited
    attempts INTEGER NOT NULL DEFAULT 0, -- times it failed
    output TEXT NOT NULL DEFAULT '{}',   -- JSON
    problem TEXT NOT NULL DEFAULT '',
    hint TEXT NOT NULL DEFAULT '',
    actor TEXT NOT NULL DEFAULT '',      -- who did it; empty: the appliance
    started_at TEXT NOT NULL,
    ended_at TEXT,
    PRIMARY KEY (run_id, number)
) WITHOUT ROWID;
INSERT INTO "step" VALUES(1,0,'manager','approval','A manager says yes','undone',1,0,'{}','mary said no: All six licences are given out <until June>.','Ask them, or your admin.','mary','2026-11-29T18:24:14.365269+00:00','2026-11-29T18:24:14.387630+00:00');
INSERT INTO "step" VALUES(2,0,'manager','approval','A manager says yes','waiting',0,0,'{}','','','','2026-11-29T18:24:14.391368+00:00',NULL);
CREATE TABLE throttle (
    name TEXT NOT NULL PRIMARY KEY, -- account:NAME or address:ADDRESS
    failures INTEGER NOT NULL,
    blocked_until TEXT NOT NULL,
    updated_at TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE todo (
    id INTEGER PRIMARY KEY,
    run_id INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    number INTEGER NOT NULL, -- of the step
    kind TEXT NOT NULL,      -- approval, task
    title TEXT NOT NULL,
    text TEXT NOT NULL DEFAULT '',
    state TEXT NOT NULL,     -- open, done, refused, expired, withdrawn
    role TEXT NOT NULL DEFAULT '', -- whoever holds it over the requester's org unit or over the class
    account_id INTEGER REFERENCES account (id) ON DELETE SET NULL, -- or this person
    requester_id INTEGER REFERENCES account (id) ON DELETE SET NULL,
    class_name TEXT REFERENCES class (name),
    created_at TEXT NOT NULL,
    escalates_at TEXT,
    escalated_at TEXT,
    expires_at TEXT,
    escalate_role TEXT NOT NULL DEFAULT '', -- asked as well since then
    decided_at TEXT,
    decided_by TEXT NOT NULL DEFAULT '',
    comment TEXT NOT NULL DEFAULT '',
    UNIQUE (run_id, number)
);
INSERT INTO "todo" VALUES(1,1,0,'approval','A manager says yes','Is it for a course?
The studio is licensed for 6 people.','refused','approver',NULL,3,'studio','2026-11-29T18:24:14.371265+00:00',NULL,NULL,'2026-12-02T18:24:14.365269+00:00','owner','2026-11-29T18:24:14.375660+00:00','mary','All six licences are given out <until June>.');
INSERT INTO "todo" VALUES(2,2,0,'approval','A manager says yes','Is it for a course?
The studio is licensed for 6 people.','open','approver',NULL,2,'studio','2026-11-29T18:24:14.395310+00:00',NULL,NULL,'2026-12-02T18:24:14.391368+00:00','owner',NULL,'','');
CREATE TABLE token (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    digest TEXT NOT NULL UNIQUE, -- SHA-256 of the token
    ending TEXT NOT NULL,        -- its last letters, to tell it from others
    scope TEXT NOT NULL,         -- the permissions it is good for, JSON
    created_at TEXT NOT NULL,
    expires_at TEXT NOT NULL,
    used_at TEXT,
    address TEXT NOT NULL DEFAULT '' -- from where it was used last
);
INSERT INTO "token" VALUES(1,2,'script','efe0cd5422a2fd231fbfb21d0ec6f4f194c8b42bade1e471583af99c86e5be81','CnDo','["machines","read"]','2026-11-29T18:24:14.399667+00:00','2199-01-01T00:00:00.000000+00:00',NULL,'');
CREATE INDEX session_account ON session (account_id);
CREATE UNIQUE INDEX seed_promoted ON seed (class_name) WHERE promoted = 1;
CREATE UNIQUE INDEX machine_slot ON machine (slot) WHERE state <> 'retired';
CREATE INDEX machine_owner ON machine (owner_id) WHERE owner_id IS NOT NULL;
CREATE INDEX machine_class ON machine (class_name, number);
CREATE UNIQUE INDEX lease_live ON lease (machine_id) WHERE ended_at IS NULL;
CREATE INDEX lease_account ON lease (account_id) WHERE ended_at IS NULL;
CREATE INDEX lease_ends ON lease (ends_at) WHERE ended_at IS NULL;
CREATE INDEX request_waiting ON request (class_name, id) WHERE state = 'waiting';
CREATE INDEX request_account ON request (account_id, state);
CREATE INDEX event_machine ON event (machine_id, id) WHERE machine_id IS NOT NULL;
CREATE TRIGGER event_append_only_update BEFORE UPDATE ON event BEGIN SELECT RAISE (ABORT, 'events are append-only'); END;
CREATE TRIGGER event_append_only_delete BEFORE DELETE ON event BEGIN SELECT RAISE (ABORT, 'events are append-only'); END;
CREATE UNIQUE INDEX snapshot_current ON snapshot (seed_id) WHERE state <> 'stale';
CREATE INDEX machine_state ON machine (state, class_name, number);
CREATE INDEX machine_alive ON machine (number) WHERE state <> 'retired';
CREATE INDEX machine_class_alive ON machine (class_name, number) WHERE state <> 'retired';
CREATE INDEX event_trouble ON event (id) WHERE level <> 'info';
CREATE INDEX machine_live ON machine (state, class_name, readiness, origin, memory, vcpus, seed_id, id) WHERE state <> 'retired';
CREATE INDEX account_unit ON account (org_unit_id);
CREATE INDEX people_group_unit ON people_group (org_unit_id);
CREATE INDEX member_group ON member (group_id, account_id);
CREATE INDEX nesting_outer ON nesting (outer_id, inner_id);
CREATE INDEX permit_account ON permit (account_id) WHERE account_id IS NOT NULL;
CREATE INDEX permit_group ON permit (group_id) WHERE group_id IS NOT NULL;
CREATE INDEX permit_org_unit ON permit (org_unit_id) WHERE org_unit_id IS NOT NULL;
CREATE INDEX permit_over_unit ON permit (over_unit_id) WHERE over_unit_id IS NOT NULL;
CREATE INDEX quota_account ON quota (account_id) WHERE account_id IS NOT NULL;
CREATE INDEX quota_group ON quota (group_id) WHERE group_id IS NOT NULL;
CREATE INDEX quota_org_unit ON quota (org_unit_id) WHERE org_unit_id IS NOT NULL;
CREATE INDEX quota_permit ON quota (permit_id) WHERE permit_id IS NOT NULL;
CREATE UNIQUE INDEX account_directory ON account (directory_id) WHERE directory_id IS NOT NULL;
CREATE UNIQUE INDEX directory_run_open ON directory_run (state) WHERE state IN ('queued', 'running');
CREATE INDEX token_account ON token (account_id);
CREATE INDEX event_object ON event (object, id) WHERE object <> '';
CREATE INDEX event_area ON event (substr(kind, 1, instr(replace(kind, '_', '.') || '.', '.') - 1), id);
CREATE INDEX event_actor ON event (actor, id);
CREATE UNIQUE INDEX sequence_promoted ON sequence_version (sequence_name) WHERE state = 'promoted';
CREATE UNIQUE INDEX sequence_draft ON sequence_version (sequence_name) WHERE state = 'draft';
CREATE TRIGGER sequence_version_kept BEFORE UPDATE OF body, sequence_name, number ON sequence_version WHEN old.state <> 'draft'
BEGIN
    SELECT RAISE(ABORT, 'a version of a sequence does not change');
END;
CREATE UNIQUE INDEX run_one ON run (machine_id, kind) WHERE ended_at IS NULL AND machine_id IS NOT NULL;
CREATE INDEX run_live ON run (state, wake_at) WHERE ended_at IS NULL;
CREATE INDEX run_machine ON run (machine_id, id) WHERE machine_id IS NOT NULL;
CREATE INDEX run_request ON run (request_id, id) WHERE request_id IS NOT NULL;
CREATE INDEX run_ended ON run (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX todo_open ON todo (id) WHERE state = 'open';
CREATE INDEX todo_decided ON todo (decided_at) WHERE decided_at IS NOT NULL;
CREATE INDEX outgoing_next ON outgoing (next_at);
CREATE TRIGGER request_trial AFTER UPDATE OF machine_id, trial_id ON request WHEN new.trial_id IS NOT NULL AND new.machine_id IS NOT NULL
BEGIN
    UPDATE machine SET trial_id = new.trial_id WHERE id = new.machine_id;
END;
CREATE INDEX request_pending ON request (class_name, id) WHERE state = 'pending';
CREATE INDEX request_batch ON request (batch_id) WHERE batch_id IS NOT NULL;
CREATE INDEX run_made ON run (class_name, id);
CREATE INDEX run_account ON run (account_id, id);
CREATE UNIQUE INDEX data_disk_machine ON data_disk (machine_id) WHERE machine_id IS NOT NULL;
CREATE INDEX data_disk_account ON data_disk (account_id, class_name);
CREATE INDEX data_disk_due ON data_disk (id) WHERE state = 'removing' OR backup_asked = 1;
CREATE INDEX kept_disk_account ON kept_disk (account_id);
CREATE INDEX kept_disk_machine ON kept_disk (machine_id) WHERE machine_id IS NOT NULL;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('permit',4);
INSERT INTO "sqlite_sequence" VALUES('machine',10);
INSERT INTO "sqlite_sequence" VALUES('event',29);
INSERT INTO "sqlite_sequence" VALUES('people_group',1);
INSERT INTO "sqlite_sequence" VALUES('quota',1);
INSERT INTO "sqlite_sequence" VALUES('sequence_version',1);
INSERT INTO "sqlite_sequence" VALUES('run',2);
INSERT INTO "sqlite_sequence" VALUES('token',1);
COMMIT;
PRAGMA user_version = 6;
