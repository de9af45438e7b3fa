-- MySQL dump 10.13  Distrib 5.7.44, for Linux (x86_64)
--
-- Host: localhost    Database: bro
-- ------------------------------------------------------
-- Server version	5.7.44

/*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */;
/*!40101 SET NAMES utf8 */;

--
-- Table structure for table `dns`
--

DROP TABLE IF EXISTS `dns`;
/*!40101 SET character_set_client = utf8 */;
CREATE TABLE `dns` (
  `query` varchar(255) NOT NULL,
  `type` varchar(20) NOT NULL,
  `answer` varchar(255) NOT NULL,
  `count` int(11) DEFAULT NULL,
  `ttl` int(11) DEFAULT NULL,
  `first` datetime DEFAULT NULL,
  `last` datetime DEFAULT NULL,
  PRIMARY KEY (`query`,`type`,`answer`),
  KEY `ix_dns_query` (`query`),
  KEY `ix_dns_answer` (`answer`)
) ENGINE=InnoDB DEFAULT CHARSET=latin1;
/*!40101 SET character_set_client = @saved_cs_client */;

--
-- Dumping data for table `dns`
--

LOCK TABLES `dns` WRITE;
/*!40000 ALTER TABLE `dns` DISABLE KEYS */;
INSERT INTO `dns` VALUES ('www.example.com','A','cdn.example.net',42,300,'2016-04-01 02:00:00','2016-05-01 03:04:05'),('www.example.com','A','192.0.2.10',42,60,'2016-04-01 02:00:00','2016-05-01 03:04:05'),('www.example.com','AAAA','2001:db8::10',7,NULL,'2016-04-02 00:00:00','2016-04-02 00:00:00'),('example.com','MX','mx.example.com',3,3600,'2016-05-01 00:00:00','2016-04-01 00:00:00'),('example.com','TXT','TXT 22 v=spf1 it\'s a:b\\\\c -all',1,3600,'2016-04-01 00:00:00','2016-04-01 00:00:00'),('7.2.0.192.in-addr.arpa','PTR','host.example.com',2,3600,'2016-04-01 00:00:00','2016-04-03 00:00:00'),('nowhere.example.com','A','-',9,NULL,'2016-04-01 00:00:00','2016-04-03 00:00:00'),('old.example.com','A','192.0.2.11',1,60,'0000-00-00 00:00:00',NULL);
/*!40000 ALTER TABLE `dns` ENABLE KEYS */;
UNLOCK TABLES;
/*!40101 SET CHARACTER_SET_CLIENT=@OLD_CHARACTER_SET_CLIENT */;

-- Dump completed on 2016-05-02  0:00:00
