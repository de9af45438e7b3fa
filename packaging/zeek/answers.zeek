##! Logs each DNS answer with its owner and type. NOT NEEDED by dnsledger, which reads dns.log only: it is for comparing
##! what was inferred with what was on the wire.

module DNSAnswers;

export {
	redef enum Log::ID += { LOG };

	type Info: record {
		ts: time &log;
		uid: string &log;
		## What was asked.
		query: string &log;
		## The owner of the answer.
		owner: string &log;
		## The type of the answer, as a number.
		qtype: count &log;
		ttl: interval &log;
		## The answer, where it is an address or a name.
		rdata: string &log &optional;
	};
}

event zeek_init()
	{
	Log::create_stream(DNSAnswers::LOG, [$columns=Info, $path="dns_answers"]);
	}

function write(c: connection, ans: dns_answer, rdata: string)
	{
	Log::write(DNSAnswers::LOG, [$ts=network_time(), $uid=c$uid, $query=c?$dns && c$dns?$query ? c$dns$query : "",
	                             $owner=ans$query, $qtype=ans$qtype, $ttl=ans$TTL, $rdata=rdata]);
	}

event dns_A_reply(c: connection, msg: dns_msg, ans: dns_answer, a: addr)
	{
	write(c, ans, cat(a));
	}

event dns_AAAA_reply(c: connection, msg: dns_msg, ans: dns_answer, a: addr)
	{
	write(c, ans, cat(a));
	}

event dns_CNAME_reply(c: connection, msg: dns_msg, ans: dns_answer, name: string)
	{
	write(c, ans, name);
	}

event dns_NS_reply(c: connection, msg: dns_msg, ans: dns_answer, name: string)
	{
	write(c, ans, name);
	}

event dns_PTR_reply(c: connection, msg: dns_msg, ans: dns_answer, name: string)
	{
	write(c, ans, name);
	}

event dns_MX_reply(c: connection, msg: dns_msg, ans: dns_answer, name: string, preference: count)
	{
	write(c, ans, fmt("%d %s", preference, name));
	}
