PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE tuples (
	query character varying,
	type character varying,
	answer character varying,
	count integer,
	ttl integer,
	first REAL,
	last REAL,
	PRIMARY KEY (query, type, answer)
);
INSERT INTO tuples VALUES('moc.elpmaxe.www','A','cdn.example.net',42,300,'2016-04-01 00:00:00','2016-05-01 03:04:05');
INSERT INTO tuples VALUES('moc.elpmaxe.www','A','192.0.2.10',42,60,'2016-04-01 00:00:00','2016-05-01 03:04:05');
INSERT INTO tuples VALUES('moc.elpmaxe','TXT','TXT 22 v=spf1 it''s a:b\\c -all',1,3600,1459468800.0,1459468800.7499999999);
INSERT INTO tuples VALUES('nal.retnirp','A','192.0.2.12',5,60,1459468800.0,1459468801.0);
INSERT INTO tuples VALUES('apra.rdda-ni.291.0.2.7','PTR','host.example.com',2,0,1459468800.0,1459641600.0);
CREATE TABLE individual (
	which char(1),
	value character varying,
	count integer,
	first REAL,
	last REAL,
	PRIMARY KEY (which, value)
);
INSERT INTO individual VALUES('Q','moc.elpmaxe.www',42,'2016-04-01 00:00:00','2016-05-01 03:04:05');
INSERT INTO individual VALUES('A','192.0.2.10',42,'2016-04-01 00:00:00','2016-05-01 03:04:05');
CREATE TABLE filenames (
	filename character varying PRIMARY KEY UNIQUE NOT NULL,
	time REAL DEFAULT (datetime('now', 'localtime')),
	total_records int
);
INSERT INTO filenames VALUES('/bro/logs/2016-04-01/dns.00:00:00-01:00:00.log.gz','2016-04-01 01:00:00',42);
CREATE INDEX tuples_query ON tuples(query);
CREATE INDEX tuples_last ON tuples(last);
COMMIT;
